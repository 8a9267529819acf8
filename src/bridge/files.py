"""Find the project's folders, hash files as DVC does, and read them."""

import ast
import csv
import hashlib
import io
import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pathspec import GitIgnoreSpec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.errors import UserError

IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".bmp"}
SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLES = {*SEPARATORS, ".json", ".yaml", ".yml"}
CACHE = ".dvc/cache/files/md5"  # of DVC, if no other place is set
IGNORE_FILE = ".dvcignore"
SHOWN_CHARACTERS = 100  # of what a parser says


def project_root() -> Path:
    """Return the DVC project that the current folder is in, as DVC finds it.

    Raises:
        UserError: it is in none.
    """
    current = Path.cwd()
    for folder in (current, *current.parents):
        if (folder / ".dvc").is_dir():
            return folder
    raise UserError(f"{current} is in no DVC project: go to one, or run dvc init")


def main_checkout(root: Path) -> Path:
    """Return the checkout that the user works in.

    DVC runs experiments in others that it throws away, below `.dvc/tmp/exps` of that one.
    """
    for folder in root.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return root


def md5(path: Path) -> str | None:
    """Return the hash that DVC gives to a file or to a folder; None if it is missing.

    A folder's is the hash of the list of its files, with ".dir" at the end.
    """
    if path.is_dir():
        hashes = {file.relative_to(path).as_posix(): md5(file) for file in files_in(path)}
        entries = []
        for name, hashed in sorted(hashes.items()):
            entries.append({"md5": hashed, "relpath": name})
        content = json.dumps(entries).encode()
        return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def cached_object(root: Path, hashed: str) -> Path:
    """Return where DVC's cache keeps an object, if the cache lies where it usually does."""
    return main_checkout(root) / CACHE / hashed[:2] / hashed[2:]


def digest(content: Any) -> str:
    """Return the SHA-256 of what JSON can hold, in hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def is_picture(path: Path) -> bool:
    """Return whether a file is an image, or a folder holds images and nothing else."""
    if not path.is_dir():
        return path.suffix.lower() in IMAGES
    files = files_in(path)
    return bool(files) and all(is_picture(file) for file in files)


def files_in(path: Path) -> list[Path]:
    """Return the files of a folder that DVC counts, sorted; the file itself, if it is one."""
    if not path.is_dir():
        return [path]
    root = _project_of(path)
    is_ignored = ignored_by_dvc(root)
    files = []
    for file in path.rglob("*"):
        if file.is_file() and not is_ignored(file.relative_to(root).as_posix()):
            files.append(file)
    return sorted(files)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 where nothing is there."""
    size = 0
    for file in files_in(path):
        if file.exists():
            size += file.stat().st_size
    return size


@cache
def _project_of(folder: Path) -> Path:
    """Return the DVC project that a folder lies in; the folder itself where there is none."""
    for parent in folder.parents:
        if (parent / ".dvc").is_dir():
            return parent
    return folder


@cache
def ignored_by_dvc(root: Path) -> Callable[[str], bool]:
    """Return the function that says whether the project's .dvcignore hides a path."""
    file = root / IGNORE_FILE
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    is_ignored: Callable[[str], bool] = GitIgnoreSpec.from_lines(lines).match_file
    return is_ignored


def read(path: Path, text: str | None = None) -> Any:
    """Return what a file holds: a table, JSON, TOML or, as DVC reads it, YAML 1.2.

    Args:
        path: says by its suffix what the file holds.
        text: what it holds, where that was read from elsewhere, as from a commit.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        return _parse(path, path.read_text("utf-8-sig") if text is None else text)
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, SyntaxError, RecursionError, YAMLError, csv.Error) as error:
        reason = " ".join(str(error).split())[:SHOWN_CHARACTERS]
    raise UserError(f"cannot use {path.name}: {reason}")


def _parse(path: Path, text: str) -> Any:
    separator = SEPARATORS.get(path.suffix)
    if separator:
        return list(csv.DictReader(io.StringIO(text), delimiter=separator))
    if path.suffix == ".toml":
        return tomllib.loads(text)
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".py":
        return _read_python(ast.parse(text).body)
    return YAML(typ="safe").load(text)


def _read_python(statements: list[ast.stmt], *, is_init: bool = False) -> dict[str, Any]:
    """Return the values that code gives to names, as DVC takes them for parameters.

    Args:
        statements: of a module, of a class, or of its `__init__`, which sets attributes of `self`.
        is_init: whether they are from an `__init__`.
    """
    values: dict[str, Any] = {}
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            values[statement.name] = _read_python(statement.body)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            values |= _read_python(statement.body, is_init=True)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            name = _assigned_name(statement, is_init)
            with suppress(ValueError, TypeError):  # it is computed: DVC does not know it either
                value = ast.literal_eval(statement.value)
                if name:
                    values[name] = list(value) if isinstance(value, tuple) else value
    return values


def _assigned_name(statement: ast.Assign | ast.AnnAssign, is_init: bool) -> str:
    """Return the name that a statement gives a value to; "" if it is none, or are several."""
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else statement.targets
    target = targets[0]
    if len(targets) > 1:
        return ""
    if isinstance(target, ast.Name) and not is_init:
        return target.id
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        return target.attr if target.value.id == "self" else ""
    return ""


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV, TSV, JSON or YAML table; none of another kind of file."""
    if path.suffix not in TABLES:
        return []
    content = read(path)
    if isinstance(content, dict):  # the rows lie below a name
        content = _first_list(content)
    if not isinstance(content, list):
        return []
    return [row for row in content if isinstance(row, dict)]


def _first_list(content: dict[str, Any]) -> list[Any]:
    for value in content.values():
        if isinstance(value, list):
            return value
    return []


def flatten(content: Any, prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Return the values of nested dicts by name, with dots between the keys."""
    if not isinstance(content, dict):
        return {prefix: content}
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{separator}{key}" if prefix else str(key)
        values |= flatten(value, name, separator)
    return values
