"""Reading and writing: text files that are the same bytes everywhere, whole or not at all."""

import csv
import json
import math
import os
from contextlib import contextmanager

import numpy as np

from spirals import paths
from spirals.errors import UserError


@contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())  # bytes: no line ending is translated


def write_json(path, content, indent=None):
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_csv(path, header, rows):
    """Floats are written by `repr`, with the 17 digits that give back the same number."""
    lines = [",".join(header), *(",".join(map(repr, row)) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def read_csv(path, header):
    """Columns of numbers.

    Args:
        path: the file.
        header: the names of its columns.

    Returns:
        Float array of shape [rows, columns].

    Raises:
        UserError: the file is missing, is empty, has another header, or holds
            something else than finite numbers.
    """
    try:
        with path.open(newline="") as file:
            lines = list(csv.reader(file))
        if not lines or lines[0] != list(header):
            raise ValueError(f"the first line must be {','.join(header)}")
        rows = []
        for number, line in enumerate(lines[1:], start=2):
            row = [float(cell) for cell in line]
            if len(row) != len(header) or not all(map(math.isfinite, row)):
                raise ValueError(f"line {number} must be {len(header)} finite numbers")
            rows.append(row)
        if not rows:
            raise ValueError("it holds no rows")
        return np.array(rows)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def unreadable(path, error):
    reason = error.strerror if isinstance(error, OSError) else error
    return UserError(f"cannot use {path}: {reason}. Remove it and run dvc repro, which makes it anew.")


def read_points(path):
    """The data set: X of shape [N, 2], y of shape [N]; errors as for `read_csv`."""
    table = read_csv(path, paths.DATA_HEADER)
    y = table[:, 2].astype(int)
    if (y != table[:, 2]).any() or y.min() < 0:
        raise unreadable(path, "labels must be whole numbers from 0")
    return table[:, :2], y


def read_weights(path):
    """A model's weights: a dict of arrays."""
    return as_weights(read_json(path))


def as_weights(lists):
    return {name: np.array(values) for name, values in lists.items()}
