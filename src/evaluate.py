"""Stages evaluate@MODEL: a model on the training set and the test set -> metrics, confusions."""

from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.errors import exit_on_user_error
from pipeline.files import read_model, read_points, write_csv, write_metrics
from pipeline.params import Params, load_params, model_argument
from pipeline.runtime import set_up_runtime
from spirals.models import accuracy


def evaluate(name: str, params: Params, root: Path) -> dict[str, float]:
    """Measure a model; write its metrics and confusions, and return the metrics."""
    X, y = read_points(root / paths.DATA)
    test_X, test_y = read_points(root / paths.TEST)
    classes = int(y.max()) + 1
    model = read_model(root / paths.weights(name), name, classes)

    scores, _ = model.forward(X)
    test_scores, _ = model.forward(test_X)
    metrics = {
        "train_accuracy": accuracy(scores, y),
        "train_loss": model.loss(scores, y, params.train(name).l2),
        "test_accuracy": accuracy(test_scores, test_y),
    }
    predicted = np.argmax(test_scores, axis=1)
    confusions = zip(test_y.tolist(), predicted.tolist(), strict=True)
    write_csv(root / paths.confusion(name), paths.CONFUSION_HEADER, confusions)
    write_metrics(root / paths.metrics(name), name, metrics)
    return metrics


def main() -> None:
    set_up_runtime()
    name = model_argument(__doc__)
    metrics = evaluate(name, load_params(paths.ROOT), paths.ROOT)
    print(f"training loss {metrics['train_loss']:.6f}")
    print(f"training accuracy {metrics['train_accuracy']:.1%}")
    print(f"test accuracy {metrics['test_accuracy']:.1%}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
