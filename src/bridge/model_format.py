"""Write a trained model in MLflow's format: the folder with the file MLmodel.

MLflow's own `save_model` writes the same, but looks through all installed packages first, which
takes half a second of every new run: so it is written here, by MLflow's class `Model`.
"""

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from bridge.results import Result
from bridge.settings import ModelSettings, TensorType

EXAMPLE = "input_example.json"
SERVING_EXAMPLE = "serving_input_example.json"


def write_model(folder: Path, model: Model, result: Result) -> None:
    """Write the model of a result into a folder.

    Args:
        folder: empty, and there.
        model: with the IDs that MLflow gave it.
        result: whose settings say what MLflow loads.
    """
    settings = result.settings.model
    if settings is None:
        raise ValueError(f"the result {result.run} has no model")
    if settings.inputs and settings.outputs:
        model.signature = ModelSignature(_schema(settings.inputs), _schema(settings.outputs))
    if settings.example is not None:
        model.saved_input_example_info = _write_example(folder, settings.example)
    data = f"data/{Path(settings.file).name}"
    copy(result.root / settings.file, folder / data)
    for path in settings.code:
        ignored = shutil.ignore_patterns("__pycache__")
        target = folder / "code" / Path(path).name
        shutil.copytree(result.root / path, target, ignore=ignored, copy_function=shutil.copyfile)
    _write_requirements(folder)
    model.add_flavor("python_function", **_flavor(settings, data))
    model.save(str(folder / "MLmodel"))


def _schema(tensor: TensorType) -> Schema:
    return Schema([TensorSpec(np.dtype(tensor.kind), tuple(tensor.shape))])


def _write_example(folder: Path, example: list[Any]) -> dict[str, str]:
    """Write an input example, alone and as a server is asked; return what MLmodel says of it."""
    (folder / EXAMPLE).write_text(json.dumps(example))
    (folder / SERVING_EXAMPLE).write_text(json.dumps({"inputs": example}))
    return {"artifact_path": EXAMPLE, "serving_input_path": SERVING_EXAMPLE, "type": "ndarray"}


def _write_requirements(folder: Path) -> None:
    """Write which packages the model needs."""
    packages = [f"mlflow=={mlflow.__version__}", f"numpy=={np.__version__}"]
    (folder / "requirements.txt").write_text("\n".join(packages) + "\n")
    lines = [f"python: {platform.python_version()}", "dependencies:", "- -r requirements.txt"]
    (folder / "python_env.yaml").write_text("\n".join(lines) + "\n")


def _flavor(settings: ModelSettings, data: str) -> dict[str, Any]:
    """Return how MLflow loads the model."""
    return {
        "loader_module": settings.loader,
        "python_version": platform.python_version(),
        "data": data,
        "code": "code" if settings.code else None,
        "config": settings.config or None,
        "env": {"virtualenv": "python_env.yaml"},
    }


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder; the folder around the target is made.

    Not the mode: DVC write-protects what is in its cache, and a copy is written again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)
