"""A trained model as MLflow loads and serves it: from this code and the JSON weights, no pickle."""

from pathlib import Path

import numpy as np

from spirals.files import read_weights
from spirals.models import MODELS


class Classifier:
    """Predicts the class of points."""

    def __init__(self, file):
        self.model = MODELS[file.stem]
        self.weights = read_weights(file)

    def predict(self, points):
        """Classes [N] of the points [N, 2]."""
        scores, _ = self.model.forward(self.weights, points)
        return np.argmax(scores, axis=1)


def _load_pyfunc(path):
    """What MLflow calls, with the path of the weights (`loader_module` of mlflow.pyfunc)."""
    return Classifier(Path(path))
