"""What the stages share: parameters, paths, reading and writing, errors in plain words."""
