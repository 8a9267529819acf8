"""Give parameters, metrics and curves names: short ones, that MLflow takes."""

import re
from collections import Counter
from collections.abc import Iterable

from bridge.errors import UserError
from bridge.settings import FILE

Key = tuple[str, str]  # the file that a value lies in, and its dotted name there

REFUSED = re.compile(r"[^\w.\- :/]")  # characters that MLflow refuses in a name


def display_names(keys: Iterable[Key], beginnings: dict[str, str]) -> dict[Key, str]:
    """Return a name for each key.

    It is the dotted name, with the file in front where two files have the same one.

    Args:
        keys: of all values that are shown side by side.
        beginnings: of names, and what they become, as mlflow.yaml says.

    Raises:
        UserError: two keys would have the same name.
    """
    keys = list(keys)
    count = Counter(key for _, key in keys)
    names: dict[Key, str] = {}
    taken: dict[str, Key] = {}
    for file, key in keys:
        name = key if key and count[key] == 1 else f"{file}.{key}".rstrip(".")
        name = valid_name(_replace_beginning(name, beginnings))
        other = taken.setdefault(name, (file, key))
        if other != (file, key):
            both = f"{key} of {file} and {other[1]} of {other[0]}"
            raise UserError(f"{FILE}: names: {both} would be {name}")
        names[file, key] = name
    return names


def _replace_beginning(name: str, beginnings: dict[str, str]) -> str:
    for beginning, replacement in beginnings.items():
        if name.startswith(beginning):
            return replacement + name.removeprefix(beginning)
    return name


def valid_name(name: str) -> str:
    """Return the name as MLflow takes it: the path of a file, with "_" for odd characters."""
    parts = REFUSED.sub("_", name).split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "_"
