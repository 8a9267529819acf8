"""A trained model as MLflow loads and serves it: from this code and the JSON weights, no pickle."""

import json
from pathlib import Path

import numpy as np

from portable.arithmetic import FloatArray, IntArray
from spirals.models import MODELS, Classifier


class ServedModel:
    """What `mlflow.pyfunc.load_model` gives."""

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def predict(self, model_input: FloatArray) -> IntArray:
        """Return the predicted classes [N] of points [N, 2]."""
        scores, _ = self.model.forward(np.asarray(model_input, dtype=float))
        return np.argmax(scores, axis=1)


def _load_pyfunc(path: str, config: dict[str, str]) -> ServedModel:
    """Return the model; MLflow calls this with the file of the weights and our config."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    weights = {name: np.array(value, dtype=float) for name, value in content.items()}
    return ServedModel(MODELS[config["model"]].from_weights(weights))
