"""Full-batch gradient descent (case study, "Putting it all together")."""

import math

import numpy as np

from spirals.models import accuracy, loss, regularized

# Moments of the training, in thousandths of it, at which the weights are kept: close together at the start, where the
# boundary moves. All are frames of the moving picture; those at whole per cents are steps of the slider in MLflow.
SNAPSHOTS = (*range(10), *range(10, 60, 2), *range(60, 100, 5), *range(100, 150, 10), 150)
SNAPSHOTS += (200, 250, 300, 400, 500, 600, 800, 1000)


class Diverged(ArithmeticError):
    """The loss stopped being a finite number."""

    def __init__(self, iteration, curve):
        super().__init__(f"the loss is not finite at iteration {iteration}")
        self.iteration, self.curve = iteration, curve


def gradient_descent(model, weights, X, y, params):
    """Trains the weights of a model in place, on points X [N, D] of the classes y [N]: a step for each item asked for.

    An item is the iteration and the scores [N, K] of the weights before its update; the last one is the
    number of iterations and the scores of the trained weights. Of `params` are used learning_rate, l2, iterations.
    """
    if hasattr(model, "gradient_descent"):  # a compiled form: the same numbers in less time
        yield from model.gradient_descent(weights, X, y, params)
        return
    X = np.asfortranarray(X)
    for iteration in range(params.iterations):
        scores, hidden = model.forward(weights, X)
        yield iteration, scores
        gradients = model.backward(weights, X, hidden, model.score_gradient(scores, y))
        for name in regularized(weights):
            gradients[name] += params.l2 * weights[name]
        for name in weights:
            weights[name] += -params.learning_rate * gradients[name]
    scores, _ = model.forward(weights, X)
    yield params.iterations, scores


def _tame_for(weights, X, params):
    """For so many iterations after the squares of weights and scores added up to less than 1e100, no loss overflows.

    The gradients on a point's scores add up to at most 2/N in absolute value. So no gradient on a weight is above
    2 (1 + |x| + |y|) times the largest weight (or 1), and no weight grows by more than the factor
    1 + learning_rate (l2 + 2 (1 + |x| + |y|)) in an iteration: the squares of 1e50 times 2**160 are still below the
    largest float. With more than one hidden layer a gradient is a product of several weights: look at every iteration.
    """
    if len(regularized(weights)) > 2:
        return 1
    reach = float(np.max(np.sum(np.absolute(X), axis=1)))
    _, bits = math.frexp((1 + params.learning_rate) * (params.l2 + 3 + 2 * reach))
    return max(1, 160 // bits)


def train(model, weights, X, y, params, report=lambda iteration, loss: None):
    """Trains the weights in place, as `gradient_descent`, and keeps what happened.

    Returns the curve, a list of (iteration, loss, accuracy), and the snapshots, a list of dicts: permille of the
    training, iteration, accuracy, weights. `report` is called with every iteration, and with its loss or None: not
    every loss is computed. Diverged where one is not finite, with the curve up to there and the loss just before.
    """
    curve, unrecorded, snapshots = [], [], []
    tame_for, milestones = _tame_for(weights, X, params), {}
    for permille in SNAPSHOTS:
        milestones.setdefault(permille * params.iterations // 1000, []).append(permille)
    for iteration, scores in gradient_descent(model, weights, X, y, params):
        current = None
        recorded = iteration % params.record_every == 0 or iteration == params.iterations
        if iteration % tame_for == 0:
            squares = (
                np.add.reduce(value * value, axis=None) for value in (scores, *weights.values())
            )
            tame = sum(map(float, squares)) < 1e100
        if recorded or not tame:
            current = loss(weights, scores, y, params.l2)
            if not math.isfinite(current):
                raise Diverged(iteration, curve + unrecorded)
            point = (iteration, current, accuracy(scores, y))
            unrecorded = [] if recorded else [point]
            if recorded:
                curve.append(point)
        for permille in milestones.get(iteration, ()):
            kept = {name: value.tolist() for name, value in weights.items()}
            moment = {"permille": permille, "iteration": iteration, "accuracy": accuracy(scores, y)}
            snapshots.append({**moment, "weights": kept})
        report(iteration, current)
    return curve, snapshots
