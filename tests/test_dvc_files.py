"""dvc.yaml says what the scripts really need, so that a cache hit is never stale; and the rooms of src/ keep apart."""

import subprocess
import sys

import pytest
from ruamel.yaml import YAML
from sources import ROOT, SRC, closure, imported, room, stages

from spirals.models import MODELS

STAGES = stages()
SCRIPTS = sorted(SRC.glob("*.py"))

# What a file may import of ours, by the folder that it lies in.
MAY_IMPORT = {
    "portable": {"spirals"},
    "spirals": {"portable"},
    "pipeline": {"portable", "spirals", "bridge"},
    "pictures": {"portable", "spirals", "pipeline"},
    "bridge": set(),
}
OF_A_SCRIPT = {"portable", "spirals", "pipeline", "pictures"}


def test_every_model_has_its_stages():
    for stage in ("train", "evaluate", "plot"):
        assert [name for name in STAGES if name.startswith(f"{stage}@")] == [
            f"{stage}@{model}" for model in MODELS
        ]


def test_the_lock_knows_no_other_stages():
    locked = YAML(typ="safe").load((ROOT / "dvc.lock").read_text())["stages"]
    assert {*locked} <= {*STAGES}, "DVC keeps what it knows of a stage that is gone"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_closure(stage):
    python, apart, script = STAGES[stage]["cmd"].split()[:3]
    assert (python, apart) == ("python", "-E"), "no variable of the user's changes what is imported"
    path = ROOT / script
    needed = {room(file) for file in closure(path / "__main__.py" if path.is_dir() else path)}
    if stage == "track":
        # MLflow runs this file, in the model's process; nothing imports it.
        needed |= {room(file) for file in closure(SRC / "pipeline/served.py")}
    declared = {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}
    assert declared == needed


def test_data_is_handed_on_only_as_declared():
    """What a stage depends on is a source, or exactly what an earlier stage writes.

    Of a folder that no stage writes as a whole, DVC cannot say what is in it before it is there.
    """
    written = []
    for stage in STAGES.values():
        for dep in stage["deps"]:
            source = dep.startswith(("src/", "reference/")) or dep in (
                "reference",
                "requirements.lock",
                "mlflow.yaml",
                "params.yaml",
                "stages.yaml",
            )
            assert source or dep in written, dep
        written += outputs_of(stage)


def outputs_of(stage):
    """The paths of all outputs of a stage."""
    paths = []
    for kind in ("outs", "metrics", "plots"):
        for entry in stage.get(kind, []):
            paths += entry if isinstance(entry, dict) else [entry]
    return paths


def test_track_depends_on_everything_that_was_made_of_a_model():
    """Else a model that was added to the list has a run in MLflow that is not the newest."""
    made = []
    for name, stage in STAGES.items():
        if name not in ("report", "track"):
            made += outputs_of(stage)
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


def test_what_python_or_a_killed_process_leaves_is_no_dependency():
    names = [
        "src/spirals/__pycache__/data.cpython-311.pyc",
        "data/mlp/.weights.1.json",
        "src/spirals/data.py",
    ]
    command = [sys.executable, "-m", "dvc", "check-ignore", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == names[:2], done.stderr
