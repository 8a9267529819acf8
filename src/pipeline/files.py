"""Reading and writing: text files that are the same bytes everywhere, whole or not at all."""

import json
import math
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.errors import UserError
from spirals.models import MODELS


@contextmanager
def atomic_write(path):
    """A temporary path beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        with suppress(ValueError, PermissionError):
            try:
                os.kill(int(left.name.removesuffix(path.suffix).rpartition(".")[2]), 0)
            except ProcessLookupError:  # it was killed
                left.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(
            path
        )  # a full disk comes without a name, the rest with the temporary one
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path, text):
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode())  # bytes: no line ending is translated


def write_json(path, content, indent=None):
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_csv(path, header, rows):
    """Floats are written by `repr`, with the 17 digits that give back the same number."""
    lines = [",".join(header), *(",".join(map(repr, row)) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


RESTORE = "Restore it with git checkout"


@contextmanager
def file_errors(path, advice="Run make, which makes it anew"):
    """Tells what is wrong with a file in one sentence: a UserError that names it and what to do."""
    try:
        yield
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error  # Pillow's have words of their own
    except (LookupError, TypeError, AttributeError):
        reason = "it has not the parts that it must have"
    else:
        return
    raise UserError(f"cannot use {paths.shown(path)}: {reason}. {advice}.")


def read_json(path):
    """What the file holds; NaN and Infinity, which JSON does not have, are refused."""
    with file_errors(path):
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=float_refused)


def read_yaml(path, advice=RESTORE):
    """What the file holds; errors as of `reading`."""
    from ruamel.yaml import YAML  # here: where a model is served, there may be none
    from ruamel.yaml.error import YAMLError

    with file_errors(path, advice):
        try:
            return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        except YAMLError as error:
            raise ValueError(" ".join(str(error).split())[:100]) from None


@contextmanager
def reading_lock(root):
    """The stages that have run, by name, as dvc.lock has them (none without it); tells what is wrong, as `reading`."""
    path, advice = root / paths.LOCK, "Delete it and run dvc repro"
    with file_errors(path, advice):
        yield dict(read_yaml(path, advice)["stages"]) if path.exists() else {}


def refuse_strays(root):
    """Raises UserError for what lies in data/ or reports/models/ and no stage of these models writes.

    A stage that is of all models depends on the folders, so it would be in the hashes of dvc.lock, and nobody
    else could reproduce them. Hidden files are none of DVC's (.dvcignore).
    """
    with reading_lock(root) as stages:
        kept = [
            of.get("outs", ())
            for name, of in stages.items()
            if name.partition("@")[2] in {"", *MODELS}
        ]
        written = {Path(out["path"]) for outs in kept for out in outs}
    around = {folder for path in written for folder in path.parents}
    for folder in (paths.DATA.parent, paths.MODELS):
        for file in sorted(
            path.relative_to(root) for path in (root / folder).rglob("*") if path.is_file()
        ):
            places = [file, *file.parents]
            if written.isdisjoint(places) and not any(
                place.name.startswith((".", "__pycache__")) for place in places
            ):
                stray = [place for place in places if place not in around][-1]
                told = f"no stage writes {stray}, which would change the hash of {folder} in {paths.LOCK}"
                raise UserError(f"{told}: move it away, and run dvc repro")


def float_refused(name):
    raise ValueError(f"{name} is not a finite number")


def read_csv(path, header):
    """The numbers of a table that has this header, float array of shape [rows, columns].

    UserError where the file is missing or empty, has another header or other line endings, does not end with a line's
    end, or holds something else than finite numbers.
    """
    with file_errors(path):
        first, *lines = path.read_bytes().decode().split("\n")
        if first != ",".join(header):
            raise ValueError(
                f"the first line must be {','.join(header)}, with no line ending but \\n"
            )
        if len(lines) < 2 or lines.pop() != "":
            raise ValueError("it is cut off")
        rows = []
        for number, line in enumerate(lines, start=2):
            try:
                row = [float(cell) for cell in line.split(",")]
            except ValueError:
                row = []
            if len(row) != len(header) or not all(map(math.isfinite, row)) or line.endswith("\r"):
                raise ValueError(f"line {number} must be {len(header)} finite numbers")
            rows.append(row)
        return np.array(rows)


def read_points(path):
    """The data set: X of shape [N, 2], y of shape [N]; errors as for `read_csv`."""
    with file_errors(path):
        table = read_csv(path, paths.DATA_HEADER)
        labels = set(table[:, 2].tolist())
        if len(labels) < 2 or labels != set(range(len(labels))):
            raise ValueError("the labels must be 0, 1, 2 and so on, with none left out")
        return table[:, :2], table[:, 2].astype(int)


def read_curve(path):
    """The recorded iterations: rows of iteration, loss, accuracy; errors as for `read_csv`."""
    with file_errors(path):
        curve = read_csv(path, paths.CURVE_HEADER)
        iterations = curve[:, 0].tolist()
        if iterations[0] != 0 or iterations != sorted(set(map(round, iterations))):
            raise ValueError("the iterations must be whole numbers that grow from 0")
        return curve


def read_pairs(path, classes):
    """Actual and predicted class of fresh points, int array of shape [N, 2]; errors as for `read_csv`."""
    with file_errors(path):
        pairs = read_csv(path, paths.CONFUSION_HEADER)
        if not set(pairs.ravel().tolist()) <= set(range(classes)):
            raise ValueError(f"the classes must be whole numbers from 0 to {classes - 1}")
        return pairs.astype(int)


def read_weights(path, model, classes=None):
    """The weights of a model, a dict of arrays that it can use, for so many classes where they are known."""
    with file_errors(path):
        return _as_weights(read_json(path), model, classes)


def read_snapshots(path, model, classes=None):
    """A model at moments of its training: a list of dicts, permille, iteration, accuracy, weights (arrays)."""
    numbers = ("permille", "iteration", "accuracy")
    with file_errors(path):
        content = read_json(path)
        if not isinstance(content, list) or not content:
            raise ValueError("it must be a list of moments")
        for moment in content:
            _check_keys(moment, (*numbers, "weights"), "every moment must have")
            _check_finite(map(moment.get, numbers), ", ".join(numbers))
        return [
            {**moment, "weights": _as_weights(moment["weights"], model, classes)}
            for moment in content
        ]


def read_metrics(path, model):
    """A dict of finite numbers: train_accuracy, train_loss, test_accuracy of the model."""
    with file_errors(path):
        content = read_json(path)
        values = content.get(model) if isinstance(content, dict) else None
        _check_keys(values, paths.METRIC_NAMES, f"{model} must have")
        _check_finite(values.values(), "the metrics")
        return values


def _check_keys(content, names, rule):
    if not isinstance(content, dict) or {*content} != {*names}:
        raise ValueError(f"{rule} {', '.join(names)}")


def _check_finite(values, names):
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise ValueError(f"{names} must be finite numbers")


def _as_weights(content, model, classes):
    shapes = MODELS[model].shapes
    _check_keys(content, shapes, "the weights must be")
    sizes = {"D": 2, "K": classes} if classes else {"D": 2}
    weights = {}
    for name, axes in shapes.items():
        try:
            weights[name] = np.array(content[name], dtype=float)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name} must be numbers, in rows of one length") from None
        shape = weights[name].shape
        expected = [sizes.setdefault(axis, size) for axis, size in zip(axes, shape, strict=False)]
        if (
            len(shape) != len(axes)
            or list(shape) != expected
            or not np.isfinite(weights[name]).all()
        ):
            raise ValueError(
                f"{name} must be finite numbers of shape [{', '.join(axes)}], where D is 2"
            )
    return weights
