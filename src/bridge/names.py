"""Give parameters, metrics and curves names: short ones, that MLflow takes."""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TypeVar

from bridge.errors import UserError
from bridge.settings import FILE

Key = tuple[str, str]  # the file that a value lies in, and its name there
Value = TypeVar("Value")

REFUSED = re.compile(r"[^\w.\- :/]")  # characters that MLflow refuses in a name
# Files whose names say nothing of what is in them: it is named without them.
USUAL_FILES = {"params", "dvc", "metrics", "curve", "curves", "history"}
DVCLIVE = "plots/metrics/"  # where DVCLive writes the curve train/loss as train/loss.tsv


def name_parts(file: str, folder: str = "", item: str = "", run: str = "") -> list[str]:
    """Return what stands in front of the names of the values in a file.

    It depends on nothing but these arguments, so that a name stays when other files are added:
    runs with it and without it can be compared.

    Args:
        file: path in the project.
        folder: that dvc.yaml names instead of the file; "" if it names the file.
        item: of the `foreach` or `matrix` stage that writes it.
        run: the item that the whole run is about; it does not appear in names.
    """
    path = PurePosixPath(file)
    _, live, below = f"/{file}".rpartition(f"/{DVCLIVE}")
    if live:
        path = PurePosixPath(below)
    elif folder and path.is_relative_to(folder) and file != folder:
        path = path.relative_to(folder)
    else:
        path = PurePosixPath(path.name)
    parts = [*path.parts[:-1], path.stem]
    if parts[-1].lower() in USUAL_FILES:
        parts.pop()
    if item and item not in parts:
        parts.insert(0, item)
    return [part for part in parts if part != run]


def display_names(
    keys: Iterable[Key],
    beginnings: dict[str, str],
    parts_of: Callable[[str], list[str]] = name_parts,
) -> dict[Key, str]:
    """Return a name for each key.

    Where two files give the same name, the second has its folder in front.

    Args:
        keys: of all values that are shown side by side, in the order of dvc.yaml.
        beginnings: of names, and what they become, as mlflow.yaml says.
        parts_of: gives what stands in front of the names of a file's values.

    Raises:
        UserError: two keys would have the same name.
    """
    names: dict[Key, str] = {}
    taken: dict[str, Key] = {}
    for file, key in keys:
        own = _join(parts_of(file), key, file)
        short = _replace_beginning(own, beginnings)
        folder = PurePosixPath(file).parent.as_posix()
        candidates = [short, f"{folder}/{short}", f"{file}/{key}"]
        name = _first_free(candidates, taken, (file, key))
        other = taken.setdefault(name, (file, key))
        if other != (file, key):
            both = f"{key} of {file} and {other[1]} of {other[0]}"
            raise UserError(f"{FILE}: names: {both} would be {name}")
        names[file, key] = name
    return names


def by_display_name(
    values: dict[Key, Value],
    beginnings: dict[str, str],
    parts_of: Callable[[str], list[str]] = name_parts,
) -> dict[str, Value]:
    """Return values by the names that `display_names` gives to their keys."""
    names = display_names(values, beginnings, parts_of)
    return {names[key]: value for key, value in values.items()}


def _first_free(candidates: list[str], taken: dict[str, Key], key: Key) -> str:
    """Return the first name that no other file has, or the first if there is none."""
    file, _ = key
    for candidate in candidates:
        name = valid_name(candidate)
        other_file, _ = taken.get(name, key)
        if other_file == file:
            return name  # or, within one file, mlflow.yaml has made them the same
    return valid_name(candidates[0])


def _join(parts: list[str], key: str, file: str) -> str:
    """Return a name: train/loss.tsv has the column loss, or train/loss, and is not said twice."""
    if not key:
        return "/".join(parts) or PurePosixPath(file).stem
    front = "/".join(parts)
    if front and key.startswith((f"{front}/", f"{front}.")):
        return key
    if front == key:
        return key
    first = re.split("[/.]", key)[0]
    if parts and parts[-1] == first:
        parts = parts[:-1]
    return "/".join([*parts, key])


def _replace_beginning(name: str, beginnings: dict[str, str]) -> str:
    for beginning, replacement in beginnings.items():
        if name.startswith(beginning):
            return replacement + name.removeprefix(beginning)
    return name


def valid_name(name: str) -> str:
    """Return the name as MLflow takes it: the path of a file, with "_" for odd characters."""
    parts = []
    for part in REFUSED.sub("_", name).split("/"):
        if part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts) or "_"
