"""Stages evaluate@MODEL: a model on the points it was trained on and on fresh ones -> metrics and confusions."""

import numpy as np

from pipeline import paths
from pipeline.errors import exit_on_user_error
from pipeline.files import read_points, read_weights, write_csv, write_json
from pipeline.params import load_params, model_argument
from spirals.models import MODELS, accuracy, loss


def evaluate(name, params, root):
    """Measures a model, writes its confusions and metrics, and returns these; `params` are all of them."""
    model = MODELS[name]
    X, y = read_points(root / paths.DATA)
    fresh_X, fresh_y = read_points(root / paths.TEST)
    weights = read_weights(root / paths.weights(name), name, int(y.max()) + 1)
    scores, _ = model.forward(weights, X)
    fresh_scores, _ = model.forward(weights, fresh_X)
    metrics = {
        "train_accuracy": accuracy(scores, y),
        "train_loss": loss(weights, scores, y, getattr(params, f"train_{name}").l2),
        "test_accuracy": accuracy(fresh_scores, fresh_y),
    }
    rows = zip(fresh_y.tolist(), np.argmax(fresh_scores, axis=1).tolist(), strict=True)
    write_csv(root / paths.confusion(name), paths.CONFUSION_HEADER, rows)
    write_json(root / paths.metrics(name), {name: metrics}, indent=2)
    return metrics


def main():
    metrics = evaluate(model_argument(__doc__), load_params(paths.ROOT), paths.ROOT)
    told = "train loss {train_loss:.6f}, train accuracy {train_accuracy:.1%}, test accuracy {test_accuracy:.1%}"
    print(told.format(**metrics))


if __name__ == "__main__":
    with exit_on_user_error():
        main()
