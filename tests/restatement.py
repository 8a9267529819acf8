"""The case study's two loops again, as plainly as can be, for comparison.

Nothing of `spirals` is used: NumPy's own dot, exp and log, and the order of the text
(sections "Training a Softmax Linear Classifier" and "Training a Neural Network").
"""

import numpy as np


def data_loss_and_gradient(scores, y):
    n = len(y)
    unnormalized = np.exp(scores)
    p = unnormalized / unnormalized.sum(axis=1, keepdims=True)
    value = -np.log(p[range(n), y]).sum() / n
    p[range(n), y] -= 1
    return value, p / n


def linear(X, y, W, b, step, reg, iterations):
    """Losses before each update; the weights are changed in place."""
    losses = []
    for _ in range(iterations):
        value, dscores = data_loss_and_gradient(X.dot(W) + b, y)
        losses.append(value + 0.5 * reg * (W * W).sum())
        dW, db = X.T.dot(dscores) + reg * W, dscores.sum(axis=0)
        W -= step * dW
        b -= step * db
    return losses


def net(X, y, W, b, W2, b2, step, reg, iterations):
    """Losses before each update; the weights are changed in place."""
    losses = []
    for _ in range(iterations):
        hidden = np.maximum(0, X.dot(W) + b)
        value, dscores = data_loss_and_gradient(hidden.dot(W2) + b2, y)
        losses.append(value + 0.5 * reg * (W * W).sum() + 0.5 * reg * (W2 * W2).sum())
        dW2, db2 = hidden.T.dot(dscores) + reg * W2, dscores.sum(axis=0)
        dhidden = dscores.dot(W2.T)
        dhidden[hidden <= 0] = 0
        dW, db = X.T.dot(dhidden) + reg * W, dhidden.sum(axis=0)
        W -= step * dW
        b -= step * db
        W2 -= step * dW2
        b2 -= step * db2
    return losses
