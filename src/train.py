"""Stages train@MODEL: gradient descent -> weights, curve, snapshots in data/MODEL/."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import paths
from pipeline.backend import Choice, select_backend
from pipeline.errors import UserError, exit_on_user_error
from pipeline.files import model_content, read_points, snapshot_content, write_csv, write_json
from pipeline.params import load_params, model_argument
from pipeline.runtime import set_up_runtime
from spirals.models import MODELS
from spirals.training import CurvePoint, Diverged, no_report, train


def train_model(
    name: str,
    params: Any,
    root: Path,
    report: Callable[[int, float | None], None] = no_report,
    announce: Callable[[Choice], None] = lambda choice: None,
) -> list[CurvePoint]:
    """Train a model; write its weights, curve and snapshots, and return the curve.

    Args:
        name: of the model.
        params: its section of params.yaml.
        root: of the checkout.
        report: called at every iteration, with the loss where it was recorded.
        announce: called with what trains the model, before it does.

    Raises:
        UserError: the training diverged; the curve up to there is kept.
    """
    X, y = read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    model = MODELS[name].initialize(X.shape[1], classes, params)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # Diverged says it in plain words
            choice = select_backend(model, X, y, params)
            announce(choice)
            curve, snapshots = train(model, X, y, params, report, choice.backend)
    except Diverged as error:
        raise UserError(keep_diverged(name, params, error)) from None
    write_json(root / paths.weights(name), model_content(model))
    write_json(root / paths.snapshots(name), [snapshot_content(each) for each in snapshots])
    write_csv(root / paths.curve(name), paths.CURVE_HEADER, curve)
    return curve


def keep_diverged(name: str, params: Any, error: Diverged) -> str:
    """Write the curve of a training that diverged; return what to say of it."""
    kept = paths.diverged_curve(name, os.environ.get("DVC_EXP_NAME", "workspace"))
    write_csv(kept, paths.CURVE_HEADER, error.curve)
    message = f"the training of {name} diverged: the loss is not finite"
    message += f" at iteration {error.iteration}"
    if error.curve:
        last = error.curve[-1]
        message += f"; it was {last.loss:.6g} at iteration {last.iteration}"
    limit = stable_learning_rate(params)
    return (
        f"{message}.\n"
        f"Try a train_{name}.learning_rate below {limit:g}.\n"
        f"The curve up to there is in {paths.shown(kept)}."
    )


def stable_learning_rate(params: Any) -> float:
    """Return a learning rate to stay below.

    From 2/l2 on, the regularization alone makes the weights grow.
    """
    if params.l2 == 0:
        return float(params.learning_rate)
    return float(min(params.learning_rate, 2 / params.l2))


class Progress:
    """Shows a training in the terminal: a bar, and a line for every so many iterations."""

    def __init__(self, bar: Any, print_every: int, iterations: int) -> None:
        self.bar = bar
        self.print_every = print_every
        self.iterations = iterations
        self.next_print = 0

    def announce(self, choice: Choice) -> None:
        """Say what trains the model."""
        self.bar.write(f"trained by {choice.name}: {choice.reason}")

    def report(self, iteration: int, loss: float | None) -> None:
        """Move the bar, and print the loss if it is time to."""
        self.bar.update(iteration - self.bar.n)
        if loss is None or iteration < self.next_print or iteration == self.iterations:
            return
        text = f"{loss:f}" if loss < 1e9 else f"{loss:g}"
        self.bar.write(f"iteration {iteration}: loss {text}")
        self.next_print = iteration - iteration % self.print_every + self.print_every


def main() -> None:
    set_up_runtime()
    name = model_argument(__doc__)
    params = load_params(paths.ROOT).train(name)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # losses as they come
    # disable=None: a bar in a terminal only.
    with tqdm(total=params.iterations, disable=None, leave=False, unit="it") as bar:
        progress = Progress(bar, MODELS[name].print_every, params.iterations)
        curve = train_model(name, params, paths.ROOT, progress.report, progress.announce)

    first = curve[0]
    last = curve[-1]
    print(f"training accuracy: {last.accuracy:.2f}")
    if last.loss > first.loss:
        limit = stable_learning_rate(params)
        print(f"note: the loss ended at {last.loss:.6g}, above the {first.loss:.6g} it began with")
        print(f"Try a train_{name}.learning_rate below {limit:g}.")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
