"""The subject: the data, the models with their backpropagation, the training, and its arithmetic."""
