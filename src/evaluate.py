"""Stage evaluate: both models on the data set and on fresh points -> reports/metrics.json, confusions."""

import numpy as np

from spirals import paths
from spirals.data import make_spirals
from spirals.errors import plain_errors
from spirals.files import read_points, read_weights, write_csv, write_json
from spirals.models import MODELS, accuracy, loss
from spirals.params import load_params


def evaluate(params, root):
    """Measures both models and writes what came of it.

    Args:
        params: all of them.
        root: folder of data/ and reports/.

    Returns:
        The metrics by model: train_accuracy, train_loss, test_accuracy.
    """
    X, y = read_points(root / paths.DATA)
    fresh_X, fresh_y = make_spirals(
        params.evaluate.points_per_class, params.generate.classes, params.generate.noise, params.evaluate.seed
    )
    metrics = {}
    for name, model in MODELS.items():
        weights = read_weights(root / paths.weights(name), int(y.max()) + 1)
        scores, _ = model.forward(weights, X)
        fresh_scores, _ = model.forward(weights, fresh_X)
        metrics[name] = {
            "train_accuracy": accuracy(scores, y),
            "train_loss": loss(weights, scores, y, getattr(params, f"train_{name}").l2),
            "test_accuracy": accuracy(fresh_scores, fresh_y),
        }
        predicted = np.argmax(fresh_scores, axis=1)
        rows = zip(fresh_y.tolist(), predicted.tolist(), strict=True)
        write_csv(root / paths.confusion(name), paths.CONFUSION_HEADER, rows)
    write_json(root / paths.METRICS, metrics, indent=2)
    return metrics


def main():
    metrics = evaluate(load_params(paths.ROOT), paths.ROOT)
    print(f"{'model':8}{'train loss':>12}{'train accuracy':>16}{'test accuracy':>15}")
    for name, of in metrics.items():
        print(f"{name:8}{of['train_loss']:12.6f}{of['train_accuracy']:16.1%}{of['test_accuracy']:15.1%}")


if __name__ == "__main__":
    with plain_errors():
        main()
