"""What the scripts import of ours, and the stages of dvc.yaml."""

import ast
import json
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


def imported(path):
    """Our own modules that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert node.level == 0, f"{path}: say from where"
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            # The folder of a script is where Python looks first.
            for folder in (path.parent, SRC):
                module = folder / name.replace(".", "/")
                for found in (module.with_suffix(".py"), module / "__init__.py"):
                    if found.exists():
                        yield found


def closure(path):
    """The file, and everything of ours that it imports, directly or not."""
    todo, seen = [path], set()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo.extend(imported(file))
    return seen


def room(path):
    """The folder of src/ that a file lies in; of a stage's script, the file itself. As dvc.yaml has them."""
    return "/".join(path.relative_to(ROOT).parts[:2])
