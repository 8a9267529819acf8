"""What the scripts import of ours, and the stages of dvc.yaml."""

import ast
import json
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"


def stages():
    """The stages by name, those of a `foreach` one by one, as in dvc.lock."""
    found = {}
    for name, stage in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].items():
        if "foreach" not in stage:
            found[name] = stage
        for item in stage.get("foreach", ()):
            found[f"{name}@{item}"] = json.loads(json.dumps(stage["do"]).replace("${item}", item))
    return found


@cache
def imported(path):
    """Our own files that a file imports, wherever in it the import stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: say from where"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            found += _ours(name, path.parent)
    return found


def _ours(name, folder):
    """The files of a module, if it is ours; the folder of a script is where Python looks first."""
    found = []
    for place in (folder, SRC):
        module = place / name.replace(".", "/")
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.exists():
                found.append(file)
    return found


def closure(path):
    """The file, and everything of ours that it imports, directly or not."""
    waiting = [path]
    seen = set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting.extend(imported(file))
    return seen


def dependency(path):
    """A file of src/ as dvc.yaml has it: a stage's script itself, of all others their folder."""
    return "/".join(path.relative_to(ROOT).parts[:2])
