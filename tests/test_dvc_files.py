"""dvc.yaml says what the scripts need, so that a cache hit is never stale; folders keep apart."""

import ast
import subprocess
import sys

import pytest
from ruamel.yaml import YAML
from sources import ROOT, SRC, closure, dependency, imported, stages

from spirals.models import MODELS

STAGES = stages()
SCRIPTS = sorted(SRC.glob("*.py"))

# What a file may import of ours, by the folder that it lies in.
MAY_IMPORT = {
    "portable": set(),
    "spirals": {"portable"},
    "pipeline": {"portable", "spirals", "bridge"},
    "pictures": {"portable", "spirals", "pipeline", "bridge"},
    "bridge": set(),
}
OF_A_SCRIPT = {"portable", "spirals", "pipeline", "pictures"}
SHARED = {"src/bridge/atomic.py", "src/bridge/errors.py"}  # of the bridge, with every stage


@pytest.mark.parametrize("stage", ["train", "evaluate", "plot"])
def test_every_model_has_its_stages(stage):
    names = [name for name in STAGES if name.startswith(f"{stage}@")]
    assert names == [f"{stage}@{model}" for model in MODELS]


def test_the_lock_knows_no_other_stages():
    locked = YAML(typ="safe").load((ROOT / "dvc.lock").read_text())["stages"]
    assert {*locked} <= {*STAGES}, "DVC keeps what it knows of a stage that is gone"


def script_of(stage):
    """The file that a stage's command runs."""
    path = ROOT / STAGES[stage]["cmd"].split()[2]
    return path / "__main__.py" if path.is_dir() else path


@pytest.mark.parametrize("stage", STAGES)
def test_no_variable_of_the_user_s_changes_what_a_stage_imports(stage):
    assert STAGES[stage]["cmd"].startswith("python -E src/")


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_what_the_script_imports(stage):
    files = closure(script_of(stage))
    if stage == "track":
        # MLflow runs this file, in the model's process; nothing imports it.
        files |= closure(SRC / "pipeline/served.py")
    needed = {dependency(file) for file in files}
    if stage != "track":
        needed = needed - {"src/bridge"} | SHARED
    declared = {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}
    assert declared == needed


def test_of_the_bridge_the_other_stages_need_two_small_files_only():
    used = set()
    for stage in STAGES:
        if stage != "track":
            used |= {str(file.relative_to(ROOT)) for file in closure(script_of(stage))}
    package = "src/bridge/__init__.py"
    assert {name for name in used if name.startswith("src/bridge/")} == SHARED | {package}
    (docstring,) = ast.parse((ROOT / package).read_text()).body
    assert isinstance(docstring.value, ast.Constant), "it has code, so every stage depends on it"


SOURCES = ("src/", "reference/")
SOURCE_FILES = {
    "reference",
    "requirements.lock",
    "mlflow.yaml",
    "params.yaml",
    "stages.yaml",
}


def outputs(stage):
    for kind in ("outs", "metrics", "plots"):
        for entry in stage.get(kind, []):
            yield from entry if isinstance(entry, dict) else [entry]


def test_data_is_handed_on_only_as_declared():
    """What a stage depends on is a source, or exactly what an earlier stage writes.

    Of a folder that no stage writes as a whole, DVC cannot say what is in it before it is there.
    """
    written = []
    for stage in STAGES.values():
        for dep in stage["deps"]:
            source = dep.startswith(SOURCES) or dep in SOURCE_FILES
            assert source or dep in written, dep
        written += outputs(stage)


def test_track_depends_on_everything_that_was_made_of_a_model():
    """Else a model that was added to the list has a run in MLflow that is not the newest."""
    made = []
    for name, stage in STAGES.items():
        if name not in ("report", "track"):
            made += outputs(stage)
    assert set(made) <= set(STAGES["track"]["deps"])


def test_the_link_to_the_pipeline_is_one():
    """DVC refuses dvc.yaml as a dependency; by the link `report` sees its list of models."""
    assert (ROOT / "stages.yaml").resolve() == ROOT / "dvc.yaml"


@pytest.mark.parametrize(
    "path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC))
)
def test_a_file_imports_only_what_its_folder_may(path):
    folder = path.relative_to(SRC).parts[0]
    allowed = OF_A_SCRIPT if path in SCRIPTS else MAY_IMPORT[folder] | {folder}
    assert {found.relative_to(SRC).parts[0] for found in imported(path)} <= allowed


@pytest.mark.slow
def test_what_python_or_a_killed_process_leaves_is_no_dependency():
    names = [
        "src/spirals/__pycache__/data.cpython-311.pyc",
        "data/mlp/.weights.1.json",
        "src/spirals/data.py",
    ]
    command = [sys.executable, "-m", "dvc", "check-ignore", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == names[:2], done.stderr
