"""Full-batch gradient descent (case study, "Putting it all together")."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from portable.arithmetic import FloatArray, IntArray
from spirals.models import Classifier, accuracy, score_gradient

# When a snapshot is taken, in thousandths of the training: close together at the start, where the
# decision boundary moves most. The snapshots at whole per cents are the steps of MLflow's slider.
SNAPSHOT_PERMILLES = (
    *range(0, 10),
    *range(10, 60, 2),
    *range(60, 100, 5),
    *range(100, 150, 10),
    *(150, 200, 250, 300, 400, 500, 600, 800, 1000),
)


class CurvePoint(NamedTuple):
    """A row of the training curve."""

    iteration: int
    loss: float
    accuracy: float  # on the training set


@dataclass(frozen=True)
class Snapshot:
    """A model during its training."""

    permille: int  # of the training
    iteration: int
    accuracy: float  # on the training set
    model: Classifier


Step = tuple[int, FloatArray]  # an iteration, and the scores [N, K] before its update
Backend = Callable[[Classifier, FloatArray, IntArray, Any], Iterator[Step]]


class Diverged(ArithmeticError):
    """Raised when the scores or the loss are not finite numbers any more.

    Attributes:
        iteration: the first at which they were not finite.
        curve: the training curve before that iteration.
    """

    def __init__(self, iteration: int, curve: list[CurvePoint]) -> None:
        super().__init__(f"the loss is not finite at iteration {iteration}")
        self.iteration = iteration
        self.curve = curve


def gradient_descent(model: Classifier, X: FloatArray, y: IntArray, params: Any) -> Iterator[Step]:
    """Train a model in place, one update for each step that the caller takes.

    Args:
        model: its weights are updated.
        X: points, [N, D].
        y: their classes, [N].
        params: the model's section of params.yaml; learning_rate, l2 and iterations are used.

    Yields:
        Each iteration, and the scores before its update; at the end the number of iterations, and
        the scores of the trained model.
    """
    X = np.asfortranarray(X)
    for iteration in range(params.iterations):
        scores, hidden = model.forward(X)
        yield iteration, scores
        dscores = score_gradient(scores, y)
        gradients = model.backward(X, hidden, dscores)
        model.add_regularization(gradients, params.l2)
        model.update(gradients, params.learning_rate)
    scores, _ = model.forward(X)
    yield params.iterations, scores


def no_report(iteration: int, loss: float | None) -> None:
    """Report nothing."""


def train(
    model: Classifier,
    X: FloatArray,
    y: IntArray,
    params: Any,
    report: Callable[[int, float | None], None] = no_report,
    backend: Backend = gradient_descent,
) -> tuple[list[CurvePoint], list[Snapshot]]:
    """Train a model in place, and record how it went.

    Args:
        model: its weights are updated.
        X: points, [N, D].
        y: their classes, [N].
        params: the model's section of params.yaml.
        report: called at every iteration, with the loss where it was recorded.
        backend: does the iterations; `gradient_descent`, or a compiled form of it.

    Returns:
        The training curve, and the snapshots.

    Raises:
        Diverged: the scores or a recorded loss are not finite.
    """
    curve: list[CurvePoint] = []
    snapshots: list[Snapshot] = []
    planned = _plan_snapshots(params.iterations)
    for iteration, scores in backend(model, X, y, params):
        recorded = iteration % params.record_every == 0 or iteration == params.iterations
        loss = model.loss(scores, y, params.l2) if recorded else None
        finite = np.isfinite(scores).all() and (loss is None or math.isfinite(loss))
        if not finite:
            raise Diverged(iteration, curve)
        if loss is not None:
            curve.append(CurvePoint(iteration, loss, accuracy(scores, y)))
        for permille in planned.get(iteration, []):
            snapshots.append(Snapshot(permille, iteration, accuracy(scores, y), model.copy()))
        report(iteration, loss)
    return curve, snapshots


def _plan_snapshots(iterations: int) -> dict[int, list[int]]:
    """Return the permilles of the snapshots by iteration: in a short training, several at once."""
    planned: dict[int, list[int]] = {}
    for permille in SNAPSHOT_PERMILLES:
        planned.setdefault(permille * iterations // 1000, []).append(permille)
    return planned
