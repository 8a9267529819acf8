"""Stages train_linear and train_mlp: gradient descent -> weights, curve, snapshots in data/."""

import argparse
import os

from tqdm import tqdm

from spirals import paths
from spirals.errors import UserError, plain_errors
from spirals.files import read_points, write_csv, write_json
from spirals.models import MODELS
from spirals.params import load_params
from spirals.training import Diverged, train

PRINT_EVERY = {"linear": 10, "mlp": 1000}  # the case study's own


def train_model(name, params, root, report=lambda iteration, loss: None):
    """Trains one model on the data set and writes what came of it.

    Args:
        name: linear or mlp.
        params: the section train_linear or train_mlp.
        root: folder of data/.
        report: see `spirals.training.train`.

    Returns:
        The last point of the curve: iteration, loss, accuracy.

    Raises:
        UserError: the training diverged; the curve up to there is kept.
    """
    X, y = read_points(root / paths.DATA)
    model = MODELS[name]
    weights = model.initialize(X.shape[1], int(y.max()) + 1, params)
    try:
        curve, snapshots = train(model, weights, X, y, params, report)
    except Diverged as error:
        kept = paths.diverged_curve(name, os.environ.get("DVC_EXP_NAME", "workspace"))
        write_csv(kept, paths.CURVE_HEADER, error.curve)
        before = f"{error.curve[-1][1]:f} at iteration {error.curve[-1][0]}" if error.curve else "none"
        raise UserError(
            f"the training of {name} diverged: the loss is not finite at iteration {error.iteration}"
            f" (last recorded loss: {before}).\n"
            f"Try a train_{name}.learning_rate below {params.learning_rate}."
            f" The curve up to there is in {kept}."
        ) from None
    write_json(root / paths.weights(name), {key: value.tolist() for key, value in weights.items()})
    write_json(root / paths.snapshots(name), snapshots)
    write_csv(root / paths.curve(name), paths.CURVE_HEADER, curve)
    return curve[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    name = parser.parse_args().model
    params = getattr(load_params(paths.ROOT), f"train_{name}")

    # disable=None: no bar where the output is not a terminal.
    with tqdm(total=params.iterations, disable=None, leave=False, unit="it") as bar:
        due = 0

        def report(iteration, loss):
            nonlocal due
            bar.update(iteration - bar.n)
            if loss is not None and due <= iteration < params.iterations:
                bar.write(f"iteration {iteration}: loss {loss:f}")
                due = iteration - iteration % PRINT_EVERY[name] + PRINT_EVERY[name]

        _, _, accuracy = train_model(name, params, paths.ROOT, report)
    print(f"training accuracy: {accuracy:.2f}")


if __name__ == "__main__":
    with plain_errors():
        main()
