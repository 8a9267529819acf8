"""The classifiers: forward pass, loss, and backpropagation, in the case study's order.

Shapes: N points, D = 2 coordinates, H hidden units, K classes.
`matmul(a, b)` is `a @ b`, `sum_points(a)` is `a.sum(axis=0)`; see `portable.arithmetic`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from portable.arithmetic import FloatArray, IntArray, exp, log, matmul, sum_points
from spirals.data import NormalStream

Weights = dict[str, FloatArray]  # or gradients, by the name of the weight


@dataclass(eq=False)
class Classifier(ABC):
    """A model with a softmax on its scores; the fields of a subclass are its weights.

    Matrices [inputs, units] are called W, W2 and so on, their biases [units] b, b2 and so on.

    Attributes:
        title: name of the model in prose, figures and messages.
        print_every: iterations from one printed loss to the next.
    """

    title: ClassVar[str]
    print_every: ClassVar[int] = 1000

    @staticmethod
    @abstractmethod
    def layer_sizes(inputs: int, classes: int, params: Any) -> list[int]:
        """Return the units of every layer, from the inputs to the classes.

        Args:
            inputs: coordinates of a point.
            classes: how many there are.
            params: the model's section of params.yaml.
        """

    @classmethod
    @abstractmethod
    def initialize(cls, inputs: int, classes: int, params: Any) -> Self:
        """Return the model before its training; the arguments are those of `layer_sizes`."""

    @abstractmethod
    def forward(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the scores [N, K] of points X [N, D], and the inputs of the last layer.

        These are the hidden layer [N, H], or X itself where there is none.
        """

    @abstractmethod
    def backward(self, X: FloatArray, hidden: FloatArray, dscores: FloatArray) -> Weights:
        """Return the gradients of the data loss on the weights.

        Args:
            X: points, [N, D].
            hidden: the inputs of the last layer, from `forward`.
            dscores: gradient of the data loss on the scores, [N, K].
        """

    @classmethod
    def from_weights(cls, weights: Weights) -> Self:
        """Return the model with these weights; TypeError if one is missing or unknown."""
        return cls(**weights)

    @classmethod
    def weight_names(cls) -> list[str]:
        """Return the names of the weights, in the order of the layers."""
        return [field.name for field in fields(cls)]

    @property
    def weights(self) -> Weights:
        """The arrays themselves, not copies, by name."""
        return {name: getattr(self, name) for name in self.weight_names()}

    @property
    def matrices(self) -> Weights:
        """The weights under regularization: the matrices, not the biases."""
        return {name: weight for name, weight in self.weights.items() if weight.ndim == 2}

    def copy(self) -> Self:
        """Return a copy, which further training of the model does not change."""
        return self.from_weights({name: weight.copy() for name, weight in self.weights.items()})

    def loss(self, scores: FloatArray, y: IntArray, l2: float) -> float:
        """Return the loss: cross-entropy and regularization (case study, "Compute the loss").

        L = 1/N sum_i -log p_i(y_i) + l2/2 sum W**2

        Args:
            scores: of the points, [N, K].
            y: their classes, [N].
            l2: strength of the regularization.
        """
        reg_loss = sum(0.5 * l2 * np.sum(W * W) for W in self.matrices.values())
        return float(cross_entropy(scores, y) + reg_loss)

    def add_regularization(self, gradients: Weights, l2: float) -> None:
        """Add the gradient of the regularization, l2 W, to the gradients of the data loss."""
        for name, W in self.matrices.items():
            gradients[name] += l2 * W

    def update(self, gradients: Weights, learning_rate: float) -> None:
        """Take one step of gradient descent, in place."""
        for name, weight in self.weights.items():
            weight += -learning_rate * gradients[name]


@dataclass(eq=False)
class Linear(Classifier):
    """Linear classifier (case study, "Training a Softmax Linear Classifier")."""

    title = "Linear softmax classifier"
    print_every = 10  # as the case study does

    W: FloatArray  # [D, K]
    b: FloatArray  # [K]

    @staticmethod
    def layer_sizes(inputs: int, classes: int, params: Any) -> list[int]:
        return [inputs, classes]

    @classmethod
    def initialize(cls, inputs: int, classes: int, params: Any) -> Self:
        stream = NormalStream(params.seed, params.skip_draws)
        W = params.weight_scale * stream.randn(inputs, classes)
        b = np.zeros(classes)
        return cls(W, b)

    def forward(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        scores = matmul(X, self.W) + self.b  # [N, K]
        return scores, X

    def backward(self, X: FloatArray, hidden: FloatArray, dscores: FloatArray) -> Weights:
        dW = matmul(X.T, dscores)  # [D, K]
        db = sum_points(dscores)  # [K]
        return {"W": dW, "b": db}


@dataclass(eq=False)
class MLP(Classifier):
    """Two-layer network: a hidden layer of ReLU units (case study, "Training a Neural Network")."""

    title = "Two-layer network"

    W: FloatArray  # [D, H]
    b: FloatArray  # [H]
    W2: FloatArray  # [H, K]
    b2: FloatArray  # [K]

    @staticmethod
    def layer_sizes(inputs: int, classes: int, params: Any) -> list[int]:
        return [inputs, params.hidden_units, classes]

    @classmethod
    def initialize(cls, inputs: int, classes: int, params: Any) -> Self:
        stream = NormalStream(params.seed, params.skip_draws)
        W = params.weight_scale * stream.randn(inputs, params.hidden_units)
        b = np.zeros(params.hidden_units)
        W2 = params.weight_scale * stream.randn(params.hidden_units, classes)
        b2 = np.zeros(classes)
        return cls(W, b, W2, b2)

    def forward(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        hidden = matmul(X, self.W)
        hidden += self.b
        np.maximum(0, hidden, out=hidden)  # ReLU, [N, H]
        scores = matmul(hidden, self.W2) + self.b2  # [N, K]
        return scores, hidden

    def backward(self, X: FloatArray, hidden: FloatArray, dscores: FloatArray) -> Weights:
        dW2 = matmul(hidden.T, dscores)  # [H, K]
        db2 = sum_points(dscores)  # [K]
        dhidden = matmul(dscores, self.W2.T)  # [N, H]
        dhidden *= hidden > 0  # the ReLU's gradient: zero for a unit that is off
        dW = matmul(X.T, dhidden)  # [D, H]
        db = sum_points(dhidden)  # [H]
        return {"W": dW, "b": db, "W2": dW2, "b2": db2}


MODELS: dict[str, type[Classifier]] = {"linear": Linear, "mlp": MLP}  # as params.yaml names them


def softmax(scores: FloatArray) -> FloatArray:
    """Return the class probabilities [N, K] of scores [N, K]: p_k = e**f_k / sum_j e**f_j."""
    exp_scores = exp(shift_scores(scores))
    return exp_scores / np.sum(exp_scores, axis=1, keepdims=True)


def shift_scores(scores: FloatArray) -> FloatArray:
    """Return scores [N, K] less the largest of their row: the same softmax without overflow."""
    with np.errstate(over="ignore"):  # an infinite difference has the exponential 0
        return scores - np.max(scores, axis=1, keepdims=True)


def cross_entropy(scores: FloatArray, y: IntArray) -> float:
    """Return the data loss: the average of -log p(y) over points with scores [N, K], classes y [N].

    log p is taken as f_y - log sum_j e**f_j, so that no loss is infinite because p underflows.
    """
    shifted = shift_scores(scores)
    logprobs = shifted[np.arange(len(y)), y] - log(np.sum(exp(shifted), axis=1))
    return float(-np.sum(logprobs) / len(y))


def score_gradient(scores: FloatArray, y: IntArray) -> FloatArray:
    """Return the gradient of the data loss on scores [N, K]: (p_k - 1(y = k)) / N, [N, K]."""
    dscores = softmax(scores)
    dscores[np.arange(len(y)), y] -= 1
    dscores /= len(y)
    return dscores


def accuracy(scores: FloatArray, y: IntArray) -> float:
    """Return the share of points whose class y [N] has the highest score [N, K]."""
    return float(np.sum(np.argmax(scores, axis=1) == y) / len(y))
