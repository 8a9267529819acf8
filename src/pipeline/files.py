"""Read and write files, the same bytes everywhere, whole or not at all; check what is read.

Every function that reads raises UserError where a file is missing, truncated or not what a stage
writes, or where its numbers make no model: with the file, what is wrong, and what to do.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bridge.atomic import atomic_write
from pipeline import paths
from pipeline.errors import UserError
from portable.arithmetic import FloatArray, IntArray
from spirals.models import MODELS, Classifier
from spirals.training import Snapshot

RUN_MAKE = "Run make, which writes it again"
RESTORE = "Restore it with git checkout"
DELETE_LOCK = "Delete it and run dvc repro"


def write_text(path: Path, text: str) -> None:
    """Write a text; as bytes, so that no line ending is translated."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write what JSON can hold, floats with the digits that give back the same number."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_metrics(path: Path, model: str, metrics: dict[str, float]) -> None:
    """Write the metrics of a model.

    Raises:
        UserError: one is missing, has a name that is taken, or is not what it must be.
    """
    missing = [name for name in paths.METRIC_NAMES if name not in metrics]
    if missing:
        raise UserError(f"the metrics of {model} must have {', '.join(missing)}")
    for name, value in metrics.items():
        subject = f"the metric {name} of {model}"
        if name in paths.CURVE_HEADER:
            raise UserError(f"{subject} needs another name: a column of the curve has this one")
        if not _is_finite(value):
            allowed = "a finite int or float of Python's own"
            raise UserError(f"{subject} is {value!r}, but must be {allowed}")
        if name.endswith("accuracy") and not 0 <= value <= 1:
            raise UserError(f"{subject} is {value!r}, but must be from 0 to 1")
    write_json(path, {model: metrics}, indent=2)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[float]]) -> None:
    """Write a table of numbers, floats with the digits that give back the same number."""
    lines = [",".join(header)]
    for row in rows:
        lines.append(",".join(map(repr, row)))
    write_text(path, "\n".join(lines) + "\n")


@contextmanager
def file_errors(path: Path, advice: str = RUN_MAKE) -> Iterator[None]:
    """Raise UserError, with the file and this advice, for whatever reading it raises."""
    try:
        yield
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)  # Pillow's have only a text
    except (LookupError, TypeError, AttributeError):
        reason = "its structure is not as expected"
    else:
        return
    raise UserError(f"cannot use {paths.shown(path)}: {reason}. {advice}.")


def read_json(path: Path) -> Any:
    """Return the content of a file; refuse NaN and Infinity, which JSON does not have."""
    with file_errors(path):
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a finite number")


def read_yaml(path: Path, advice: str = RESTORE) -> Any:
    """Return the content of a file, read as DVC reads it: YAML 1.2."""
    from ruamel.yaml import YAML  # here: where a model is served, it may not be installed
    from ruamel.yaml.error import YAMLError

    with file_errors(path, advice):
        try:
            return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        except YAMLError as error:
            raise ValueError(" ".join(str(error).split())[:100]) from None


def read_lock(root: Path) -> dict[str, Any]:
    """Return the stages that have run, by name, as dvc.lock has them; none without the file."""
    path = root / paths.LOCK
    if not path.exists():
        return {}
    with file_errors(path, DELETE_LOCK):
        return dict(read_yaml(path, DELETE_LOCK)["stages"])


def read_csv(path: Path, header: tuple[str, ...]) -> FloatArray:
    """Return the numbers of a table that has this header, [rows, columns].

    Another header, other line endings than a newline, a last line without one, and anything that
    is not a finite number are refused.
    """
    with file_errors(path):
        first, *lines = path.read_bytes().decode().split("\n")
        if first != ",".join(header):
            expected = ",".join(header)
            raise ValueError(f"the first line must be {expected}, with no line ending but \\n")
        if len(lines) < 2 or lines.pop() != "":
            raise ValueError("it is truncated")
        rows = []
        for line_number, line in enumerate(lines, start=2):
            row = _parse_row(line, len(header))
            if row is None:
                raise ValueError(f"line {line_number} must be {len(header)} finite numbers")
            rows.append(row)
        return np.array(rows)


def _parse_row(line: str, columns: int) -> list[float] | None:
    """Return the numbers of a line; None unless there are `columns` finite ones."""
    try:
        row = [float(cell) for cell in line.split(",")]
    except ValueError:
        return None
    valid = len(row) == columns and all(map(math.isfinite, row)) and not line.endswith("\r")
    return row if valid else None


def read_points(path: Path) -> tuple[FloatArray, IntArray]:
    """Return a data set: points X [N, 2], and their classes y [N]."""
    with file_errors(path):
        table = read_csv(path, paths.DATA_HEADER)
        labels = set(table[:, 2].tolist())
        if len(labels) < 2 or labels != set(range(len(labels))):
            raise ValueError("the labels must be 0, 1, 2 and so on, with none left out")
        return table[:, :2], table[:, 2].astype(int)


def read_curve(path: Path) -> FloatArray:
    """Return a training curve: rows of iteration, loss, accuracy, [points, 3]."""
    with file_errors(path):
        curve = read_csv(path, paths.CURVE_HEADER)
        iterations = curve[:, 0].tolist()
        if iterations[0] != 0 or iterations != sorted(set(map(round, iterations))):
            raise ValueError("the iterations must be whole numbers that grow from 0")
        return curve


def read_confusion(path: Path, classes: int) -> IntArray:
    """Return the actual and the predicted class of every test point, [N, 2]."""
    with file_errors(path):
        pairs = read_csv(path, paths.CONFUSION_HEADER)
        if not set(pairs.ravel().tolist()) <= set(range(classes)):
            raise ValueError(f"the classes must be whole numbers from 0 to {classes - 1}")
        return pairs.astype(int)


def read_metrics(path: Path, model: str) -> dict[str, float]:
    """Return the metrics of a model, finite numbers by name: those of every model, and its own."""
    with file_errors(path):
        content = read_json(path)
        values: Any = content.get(model) if isinstance(content, dict) else None
        if not isinstance(values, dict) or not {*paths.METRIC_NAMES} <= {*values}:
            raise ValueError(f"{model} must have {', '.join(paths.METRIC_NAMES)}")
        _check_finite(values.values(), "the metrics")
        return dict(values)


def read_model(path: Path, name: str, classes: int | None = None) -> Classifier:
    """Return a trained model; `classes` says how many it must have scores for, if known."""
    with file_errors(path):
        return _as_model(read_json(path), name, classes)


def read_snapshots(path: Path, name: str, classes: int | None = None) -> list[Snapshot]:
    """Return the snapshots of a model's training; `classes` as for `read_model`."""
    numbers = ("permille", "iteration", "accuracy")
    with file_errors(path):
        content = read_json(path)
        if not isinstance(content, list) or not content:
            raise ValueError("it must be a list of snapshots")
        snapshots = []
        for entry in content:
            _check_keys(entry, (*numbers, "weights"), "every snapshot must have")
            _check_finite(map(entry.get, numbers), ", ".join(numbers))
            model = _as_model(entry["weights"], name, classes)
            values = {key: entry[key] for key in numbers}
            snapshots.append(Snapshot(**values, model=model))
        return snapshots


def snapshot_content(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as its file has it."""
    return {
        "permille": snapshot.permille,
        "iteration": snapshot.iteration,
        "accuracy": snapshot.accuracy,
        "weights": model_content(snapshot.model),
    }


def model_content(model: Classifier) -> dict[str, Any]:
    """Return the weights of a model as their file has them."""
    return {name: weight.tolist() for name, weight in model.weights.items()}


def _check_keys(content: Any, names: Iterable[str], rule: str) -> None:
    if not isinstance(content, dict) or {*content} != {*names}:
        raise ValueError(f"{rule} {', '.join(names)}")


def _check_finite(values: Iterable[Any], names: str) -> None:
    if not all(map(_is_finite, values)):
        raise ValueError(f"{names} must be finite numbers")


def _is_finite(value: Any) -> bool:
    """Return whether a value is a number of Python's own, and not too large for a double."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _as_model(content: Any, name: str, classes: int | None) -> Classifier:
    """Return the model with the weights that a file holds; ValueError if it cannot be one."""
    model_class = MODELS[name]
    names = model_class.weight_names()
    _check_keys(content, names, "the weights must be")
    weights = {}
    for weight in names:
        try:
            weights[weight] = np.array(content[weight], dtype=float)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{weight} must be numbers, in rows of one length") from None
        dimensions = 2 if weight.startswith("W") else 1
        if weights[weight].ndim != dimensions or not np.isfinite(weights[weight]).all():
            raise ValueError(f"{weight} must be finite numbers, in {dimensions} dimensions")
    model = model_class.from_weights(weights)
    if not _fits_together(model, classes):
        shapes = [f"{weight} {list(array.shape)}" for weight, array in weights.items()]
        wanted = "" if classes is None else f" and {classes} classes"
        raise ValueError(f"the weights do not fit 2 coordinates{wanted}: {', '.join(shapes)}")
    return model


def _fits_together(model: Classifier, classes: int | None) -> bool:
    """Return whether a point passes through the model, and its gradients have the right shapes."""
    point = np.zeros((1, 2))
    try:
        scores, hidden = model.forward(point)
        gradients = model.backward(point, hidden, np.zeros_like(scores))
    except (ValueError, IndexError):
        return False
    if classes is not None and scores.shape[1] != classes:
        return False
    weights = model.weights.items()
    return all(gradients[name].shape == weight.shape for name, weight in weights)
