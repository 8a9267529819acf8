"""A trained model as MLflow loads and serves it: from this code and the JSON weights, no pickle."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pipeline.files import read_weights
from spirals.models import MODELS


def _load_pyfunc(path, config):
    """What MLflow calls, with the file of the weights and our config: `predict` gives classes [N] of points [N, 2]."""
    model, weights = MODELS[config["model"]], read_weights(Path(path), config["model"])
    return SimpleNamespace(
        predict=lambda points: np.argmax(model.forward(weights, points)[0], axis=1)
    )
