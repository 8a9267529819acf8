"""The classifiers: forward pass, loss, and backpropagation, in the case study's order.

Shapes: N points, D = 2 coordinates, H hidden units, K classes. Weights are a dict of
arrays: W [D, K] and b [K] of the linear classifier; W [D, H], b [H], W2 [H, K] and
b2 [K] of the net.
"""

import numpy as np

from portable.arithmetic import exp, log, matmul, sum_points
from spirals.data import standard_normal


class Classifier:
    """What all models have in common: normal first weights, and a softmax of the scores.

    A model says, besides the two passes:

    title: what people read.
    shapes: axes of its weights by name (W, b, W2, b2 and so on); D inputs, K classes, and its own hidden layers.
    print_every: iterations from one printed loss to the next.
    """

    print_every = 1000

    @staticmethod
    def hidden(params):
        """Units of each hidden layer, by its letter in `shapes`."""
        return {}

    @classmethod
    def sizes(cls, inputs, classes, params):
        """By name, the shape of the weights."""
        sizes = {"D": inputs, "K": classes, **cls.hidden(params)}
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in cls.shapes.items()}

    @classmethod
    def initialize(cls, inputs, classes, params):
        """First weights: matrices normal times `weight_scale`, one after another from the stream; biases zero."""
        weights, skip = {}, params.skip_draws
        for name, shape in cls.sizes(inputs, classes, params).items():
            weights[name] = np.zeros(shape)
            if name.startswith("W"):
                draws = standard_normal(params.seed, skip, weights[name].size)
                weights[name] = params.weight_scale * draws.reshape(shape)
                skip += draws.size
        return weights

    @staticmethod
    def compiled():
        """The same model with a compiled `gradient_descent` of its own, or None."""
        return None

    @staticmethod
    def score_gradient(scores, y):
        """Gradient of the data loss on the scores: (p_k - 1(y = k)) / N, of shape [N, K]."""
        dscores = softmax(scores)
        dscores[np.arange(len(y)), y] -= 1
        dscores /= len(y)
        return dscores


class Linear(Classifier):
    """Softmax classifier with linear scores (case study, "Training a Softmax Linear Classifier")."""

    title = "Linear softmax classifier"
    shapes = {"W": "DK", "b": "K"}
    print_every = 10  # as the case study does

    @staticmethod
    def forward(weights, X):
        """Scores [N, K] of the points X [N, D], and what the backward pass needs again."""
        scores = matmul(X, weights["W"]) + weights["b"]
        return scores, None

    @staticmethod
    def backward(weights, X, _, dscores):
        """Gradients of the data loss, from dscores [N, K], its gradient on the scores."""
        return {"W": matmul(X.T, dscores), "b": sum_points(dscores)}


class MLP(Classifier):
    """Net with one hidden layer of ReLU units (case study, "Training a Neural Network")."""

    title = "Two-layer net"
    shapes = {"W": "DH", "b": "H", "W2": "HK", "b2": "K"}

    @staticmethod
    def hidden(params):
        return {"H": params.hidden_units}

    @staticmethod
    def forward(weights, X):
        """Scores [N, K] of the points X [N, D], and the hidden layer [N, H]."""
        hidden = matmul(X, weights["W"])
        hidden += weights["b"]
        np.maximum(0, hidden, out=hidden)  # ReLU
        scores = matmul(hidden, weights["W2"]) + weights["b2"]
        return scores, hidden

    @staticmethod
    def backward(weights, X, hidden, dscores):
        """Gradients of the data loss, from dscores [N, K], its gradient on the scores."""
        dW2 = matmul(hidden.T, dscores)  # [H, K]
        db2 = sum_points(dscores)  # [K]
        dhidden = matmul(dscores, weights["W2"].T)  # [N, H]
        dhidden *= hidden > 0  # ReLU: no gradient through a unit that is off
        dW = matmul(X.T, dhidden)  # [D, H]
        db = sum_points(dhidden)  # [H]
        return {"W": dW, "b": db, "W2": dW2, "b2": db2}

    @staticmethod
    def compiled():
        from portable.compiled import CompiledMLP

        return CompiledMLP


MODELS = {"linear": Linear, "mlp": MLP}  # under the names that params.yaml and dvc.yaml give them


def softmax(scores):
    """Class probabilities [N, K] of the scores [N, K], p_k = e**f_k / sum_j e**f_j.

    The row's maximum is subtracted first, which changes nothing but the range: no score is too large.
    """
    exp_scores = exp(_shifted(scores))
    return exp_scores / np.sum(exp_scores, axis=1, keepdims=True)


def _shifted(scores):
    with np.errstate(
        over="ignore"
    ):  # a difference beyond all floats is infinite, its exponential 0
        return scores - np.max(scores, axis=1, keepdims=True)


def loss(weights, scores, y, l2):
    """Average cross-entropy of the scores [N, K] for the classes y [N], and L2 regularization of the matrices.

    L = 1/N sum_i -log p_i(y_i) + l2/2 sum W**2 (case study, "Compute the loss"). The logarithm of the probability is
    taken without the probability, as f_y - log sum_j e**f_j, so that a loss is never infinite because one underflows.
    """
    shifted = _shifted(scores)
    logprobs = shifted[np.arange(len(y)), y] - log(np.sum(exp(shifted), axis=1))
    data_loss = -np.sum(logprobs) / len(y)
    reg_loss = sum(
        0.5 * l2 * np.sum(weights[name] * weights[name]) for name in regularized(weights)
    )
    return float(data_loss + reg_loss)


def regularized(weights):
    """The weights under regularization: the matrices, not the biases."""
    return [name for name in weights if name.startswith("W")]


def accuracy(scores, y):
    """Share of the points whose highest score is that of their class."""
    return float(np.sum(np.argmax(scores, axis=1) == y) / len(y))
