"""dvc.yaml says what the scripts really need, so that a cache hit is never stale."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def imported(path):
    """Our own modules that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            found = ROOT / "src" / (name.replace(".", "/") + ".py")
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


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_closure(stage):
    script = ROOT / STAGES[stage]["cmd"].split()[1]
    needed = {str(path.relative_to(ROOT)) for path in closure(script)}
    if stage == "track":
        # MLflow runs this file, in the model's process; nothing imports it.
        needed |= {str(path.relative_to(ROOT)) for path in closure(ROOT / "src/spirals/served.py")}
    declared = {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}
    assert declared == needed


def test_data_is_handed_on_only_as_declared():
    """What a stage depends on is either a source or what an earlier stage writes."""
    written = set()
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert dep.startswith(("src/", "reference/")) or dep in written or dep == "requirements.lock", dep
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                written.update(entry if isinstance(entry, dict) else [entry])
