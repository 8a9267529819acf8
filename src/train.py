"""Stages train@MODEL: gradient descent -> weights, curve, snapshots in data/MODEL/."""

import os
import sys
import time
from contextlib import suppress

import msgspec
import numpy as np
from tqdm import tqdm

from pipeline import paths
from pipeline.errors import UserError, exit_on_user_error
from pipeline.files import read_points, write_csv, write_json
from pipeline.params import load_params, model_argument
from spirals.models import MODELS
from spirals.training import Diverged, gradient_descent, train

COMPILE_FROM = 2.5e8  # points times weights times iterations: NumPy then loses a second; compiling takes 4, but once


def train_model(name, params, root, report=lambda iteration, loss: None):
    """Trains a model by its section of params.yaml, writes what came of it, and returns the curve, as `train` does.

    UserError where the training diverged; the curve up to there is kept.
    """
    X, y = read_points(root / paths.DATA)
    weights = MODELS[name].initialize(X.shape[1], int(y.max()) + 1, params)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # Diverged says it in plain words
            model = fastest(name, params, X, y, weights)
            curve, snapshots = train(model, weights, X, y, params, report)
    except Diverged as error:
        kept = paths.diverged_curve(name, os.environ.get("DVC_EXP_NAME", "workspace"))
        write_csv(kept, paths.CURVE_HEADER, error.curve)
        before = "; it was {1:.6g} at iteration {0}".format(*error.curve[-1]) if error.curve else ""
        raise UserError(
            f"the training of {name} diverged: the loss is not finite at iteration {error.iteration}{before}.\n"
            f"Try a train_{name}.learning_rate below {_stable(params):g}.\n"
            f"The curve up to there is in {paths.shown(kept)}."
        ) from None
    write_json(root / paths.weights(name), {key: value.tolist() for key, value in weights.items()})
    write_json(root / paths.snapshots(name), snapshots)
    write_csv(root / paths.curve(name), paths.CURVE_HEADER, curve)
    return curve


def fastest(name, params, X, y, weights):
    """The model; its compiled form if the work is worth it and a trial gives the same bytes in no more time."""
    model = MODELS[name]
    if len(X) * sum(value.size for value in weights.values()) * params.iterations >= COMPILE_FROM:
        with suppress(
            Exception
        ):  # no Numba, or whatever keeps it from working here: NumPy can do the same
            if compiled := model.compiled():
                some = slice(None, None, 1 + len(X) // 1000)
                trial = (weights, X[some], y[some], msgspec.structs.replace(params, iterations=2))
                (expected, limit), (result, seconds) = _try(model, *trial), _try(compiled, *trial)
                if result == expected and seconds <= limit:
                    return compiled
    return model


def _try(model, weights, X, y, params):
    """What a short training comes to, in bytes, and its processor time, in seconds: the least of five."""
    taken = []
    for _ in range(5):
        begin = time.thread_time()  # where others' work on the machine does not count
        mine = {key: value.copy() for key, value in weights.items()}
        scores = [scores.tobytes() for _, scores in gradient_descent(model, mine, X, y, params)]
        taken.append(time.thread_time() - begin)
    return (scores, [value.tobytes() for value in mine.values()]), min(taken)


def _stable(params):
    """A learning rate to stay below: that of 2/l2 on, the regularization alone makes the weights grow."""
    return min(params.learning_rate, 2 / params.l2) if params.l2 else params.learning_rate


def main():
    name = model_argument(__doc__)
    params = getattr(load_params(paths.ROOT), f"train_{name}")
    sys.stdout.reconfigure(
        line_buffering=True
    )  # losses are seen when they come, through a pipe too
    with tqdm(
        total=params.iterations, disable=None, leave=False, unit="it"
    ) as bar:  # None: only in a terminal
        due, every = 0, MODELS[name].print_every

        def report(iteration, loss):
            nonlocal due
            bar.update(iteration - bar.n)
            if loss is not None and due <= iteration < params.iterations:
                bar.write(f"iteration {iteration}: loss {loss:{'f' if loss < 1e9 else 'g'}}")
                due = iteration - iteration % every + every

        curve = train_model(name, params, paths.ROOT, report)
    (_, first, _), (_, last, accuracy) = curve[0], curve[-1]
    print(f"training accuracy: {accuracy:.2f}")
    if last > first:
        advice = f"try a train_{name}.learning_rate below {_stable(params):g}"
        print(f"note: the loss ended at {last:.6g}, above the {first:.6g} it began with: {advice}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
