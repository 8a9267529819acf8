"""The arithmetic under the models: the same bytes on every machine, and a compiled form of the training."""
