"""A trained model as MLflow loads and serves it: from this code and the JSON weights, no pickle."""

from pathlib import Path

import numpy as np

from pipeline.files import read_weights
from spirals.models import MODELS


class Classifier:
    def __init__(self, file, name):
        self.model, self.weights = MODELS[name], read_weights(file, name)

    def predict(self, points):
        """Classes [N] of the points [N, 2]."""
        scores, _ = self.model.forward(self.weights, points)
        return np.argmax(scores, axis=1)


def _load_pyfunc(path, config):
    """What MLflow calls (`loader_module` of mlflow.pyfunc): path of the weights, and the model's name in `config`."""
    return Classifier(Path(path), config["model"])
