"""Files: where the project lies, hashes as DVC takes them, reading whatever format, writing whole or not at all."""

import csv
import hashlib
import io
import json
import os
import tomllib
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from pathspec import GitIgnoreSpec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.errors import UserError

IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".bmp"}
SEPARATORS = {".csv": ",", ".tsv": "\t"}


def project_root():
    """The project that the bridge lies in: the nearest folder above it that has DVC's."""
    for folder in Path(__file__).resolve().parents[1:]:
        if (folder / ".dvc").is_dir():
            return folder
    raise UserError("no folder above the bridge is a DVC project: run dvc init")


def main_checkout(root):
    """The checkout that the user works in: DVC runs experiments in throw-away ones, below its `.dvc/tmp/exps`."""
    found = (
        folder.parents[2] for folder in root.parents if folder.parts[-3:] == (".dvc", "tmp", "exps")
    )
    return next(found, root)


def md5(path):
    """The hash that DVC gives to a file or to a folder: of a folder, that of the list of its files. None if missing."""
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in files_in(path)}
        listed = json.dumps([{"md5": md5(files[name]), "relpath": name} for name in sorted(files)])
        return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def digest(content):
    """SHA-256 of what JSON can hold, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def is_picture(path):
    """Whether a file is an image, or a folder holds nothing else."""
    if path.is_dir():
        return all(map(is_picture, files_in(path) or [path / "empty"]))
    return path.suffix.lower() in IMAGES


def files_in(path):
    """The files of a folder that DVC counts, in order of their names; the file itself, if it is one."""
    if not path.is_dir():
        return [path]
    root, ignored = _ignored(path)
    return sorted(
        file for file in path.rglob("*") if file.is_file() and not ignored(file.relative_to(root))
    )


@cache
def _ignored(folder):
    """The project that a folder lies in, and whether its .dvcignore hides a path: a file manager leaves files, too."""
    root = next((place for place in folder.parents if (place / ".dvc").is_dir()), folder)
    file = root / ".dvcignore"
    return root, GitIgnoreSpec.from_lines(
        file.read_text("utf-8").splitlines() if file.exists() else []
    ).match_file


def read(path, text=None):
    """What a file holds: a table, JSON, TOML or, as DVC reads it, YAML 1.2; UserError if it is missing or broken."""
    try:
        text = path.read_text("utf-8-sig") if text is None else text
        if path.suffix in SEPARATORS:
            return list(csv.DictReader(io.StringIO(text), delimiter=SEPARATORS[path.suffix]))
        return {".toml": tomllib.loads, ".json": json.loads}.get(
            path.suffix, YAML(typ="safe").load
        )(text)
    except OSError as error:
        reason = error.strerror
    except (ValueError, RecursionError, YAMLError, csv.Error) as error:
        reason = " ".join(str(error).split())[:100]
    raise UserError(f"cannot use {path.name}: {reason}")


def read_table(path):
    """The rows of a CSV, TSV, JSON or YAML table, as dicts; none of another kind of file."""
    content = read(path) if path.suffix in (*SEPARATORS, ".json", ".yaml", ".yml") else []
    if isinstance(content, dict):  # the rows lie below a name
        content = next((value for value in content.values() if isinstance(value, list)), [])
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []


def flat(content, prefix=""):
    """Nested dicts by dotted name."""
    if not isinstance(content, dict):
        return {prefix: content}
    found = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


@contextmanager
def atomic_write(path):
    """A temporary path beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    for left in path.parent.glob(f".{path.name}.*"):
        with suppress(ValueError, PermissionError):
            try:
                os.kill(int(left.suffix[1:]), 0)
            except ProcessLookupError:  # one that was killed
                left.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
