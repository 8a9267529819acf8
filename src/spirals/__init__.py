"""The subject: the spiral data, the models with their backpropagation, and the training.

Read `matmul(a, b)` as `a @ b`: `portable.arithmetic` says why it has a name of its own.
"""
