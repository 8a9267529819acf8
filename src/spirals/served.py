"""A trained model as MLflow loads and serves it: from this code and the JSON weights, no pickle."""

from pathlib import Path

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel

from spirals.files import read_weights
from spirals.models import MODELS


class Classifier(PythonModel):
    """Predicts the class of points."""

    def load_context(self, context):
        self.weights = read_weights(Path(context.artifacts["weights"]))
        self.model = MODELS[context.model_config["model"]]

    def predict(self, context, model_input: np.ndarray, params=None):
        """Classes [N] of the points [N, 2]."""
        scores, _ = self.model.forward(self.weights, np.asarray(model_input, dtype=float))
        return np.argmax(scores, axis=1)


mlflow.models.set_model(Classifier())
