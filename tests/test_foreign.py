"""The bridge in projects of many kinds: each shows one complete run for each distinct result.

The projects in tests/foreign write ten times their rate as the score, and fail with the rate 13.
"""

import re
import shutil
from dataclasses import dataclass, field

import pytest
from conftest import ROOT, Checkout, once
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

FOREIGN = ROOT / "tests/foreign"
IGNORED = "/mlflow.db*\n/.mlflow.*\n/mlruns/\n__pycache__/\n"
FAILS = 13


@dataclass(frozen=True)
class Kind:
    """A project, and what its runs show."""

    name: str
    file: str = "params.yaml"  # that has the rate
    pattern: str = r"(rate: ).*"
    setting: str = "rate"  # as `dvc exp run -S` takes it; "" where it does not
    rate: str = "rate"  # name of the parameter; "" where there is none
    params: dict[str, str] = field(default_factory=dict)  # the others
    scores: dict[str, float] = field(default_factory=lambda: {"score": 0})  # more than ten rates
    curves: dict[str, dict[int, float]] = field(default_factory=dict)  # at the rate 1
    notes: str = ""  # what the bridge says of all its runs


KINDS = [
    Kind(
        "plain",
        setting="fit.rate",
        rate="fit.rate",
        scores={"test/score": 0},
        curves={"loss": {0: 0, 1: 1, 2: 2}},
    ),
    Kind("templates", params={"scale": "10", "conf/out.folder": "a"}),
    Kind("items", scores={"en/score": 2, "pa/score": 2}),
    Kind(
        "matrix",
        pattern=r"(rate: )[\d.]+",
        setting="models.tree.rate",
        rate="models.tree.rate",
        scores={"tree-2/score": 2, "tree-3/score": 3},
    ),
    Kind("folders"),
    Kind(
        "live",
        params={"optimizer": "adam", "warmup": "3.0"},
        scores={"score": 0},
        curves={"train/loss": {0: 0, 1: 1, 2: 2}},
    ),
    Kind("live_beside", scores={}, notes="left out: results/live/metrics.json, results/live/p"),
    Kind(
        "python_params",
        file="conf.py",
        pattern="(RATE = ).*",
        setting="",
        rate="conf/RATE",
        params={
            "conf/Fit.epochs": "3",
            "conf/Fit.sizes": "[4, 5]",
            "conf/solver.name": "cg",
        },
    ),
    Kind("frozen", params={"fill": "mean"}),
    Kind("no_params", file="rate.txt", setting="", rate=""),
    Kind(
        "no_x",
        curves={"rows/loss": {0: 0, 1: 1, 2: 2}, "gain": {0: 0, 10: 1, 20: 2}},
        scores={"score": 0},
    ),
]
BY_NAME = {kind.name: kind for kind in KINDS}


class Foreign(Checkout):
    """A checkout of a foreign project."""

    def bridge(self, *arguments, check=True, **environment):
        return self.run("python", "bridge", *arguments, check=check, **environment)

    def write(self, kind, rate):
        path = self.root / kind.file
        path.write_text(re.sub(kind.pattern, rf"\g<1>{rate}", path.read_text()))

    def runs(self):
        """Return all runs, each complete, no result twice."""
        uri = f"sqlite:///{self.root / 'mlflow.db'}"
        client = MlflowClient(uri, uri)
        experiment = client.get_experiment_by_name(self.root.name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        for run in runs:
            assert run.info.status == "FINISHED"
            assert run.data.tags["bridge.complete"] == "true"
        return runs

    def curve(self, run, name):
        client = MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")
        history = client.get_metric_history(run.info.run_id, name)
        return sorted((point.step, point.value) for point in history)

    def experiments_of_runs(self):
        tags = [run.data.tags.get("dvc.experiments", "") for run in self.runs()]
        return set(" ".join(tags).split())


def new_project(name, folder):
    """Make a project of tests/foreign with the stage that the bridge prints, committed."""
    project = Foreign(folder / name, folder / "site")
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FOREIGN / name, project.root, ignore=no_bytecode)
    shutil.copytree(ROOT / "src/bridge", project.root / "bridge", ignore=no_bytecode)
    (project.root / ".gitignore").write_text(IGNORED)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.com")
    project.run("dvc", "init", "--quiet")
    printed = project.bridge("--stage").stdout
    pipeline = project.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("stages:\n", "stages:\n" + printed, 1))
    project.commit("start")
    return project


@pytest.fixture(scope="session")
def ran_projects(tmp_path_factory):
    """Give the folder of a project after its first `dvc repro`, committed."""

    def folder_of(name):
        def make(folder):
            project = new_project(name, folder)
            project.run("dvc", "repro")
            project.commit("results")

        return once(tmp_path_factory, f"foreign-{name}", make)

    return folder_of


@pytest.fixture
def ran(ran_projects, tmp_path):
    """Give a copy of a project that has run."""

    def copy_of(name):
        root = shutil.copytree(ran_projects(name) / name, tmp_path / name, symlinks=True)
        return Foreign(root, tmp_path / "site")

    return copy_of


def assert_shows(project, kind, rates):
    """Check that there is one run for each rate, and that it shows what was computed with it."""
    runs = project.runs()
    assert len(runs) == len(rates)
    scored = kind.scores or {"": 0}
    found = {}
    for run in runs:
        metrics, params = run.data.metrics, dict(run.data.params)
        if kind.rate:
            rate = float(params.pop(kind.rate))
        else:
            rate = metrics["score"] / 10
        found[rate] = run
        if kind.name == "live":
            assert float(params.pop("warmup")) == 3 * rate
        assert params == {key: kind.params[key] for key in params}
        scores = {name: 10 * rate + more for name, more in kind.scores.items()}
        assert metrics.items() >= scores.items()
        for name, points in kind.curves.items():
            assert project.curve(run, name) == [(step, rate * y) for step, y in points.items()]
        assert metrics.keys() - kind.curves.keys() - kind.scores.keys() <= {"step"}
        assert scored
    assert set(found) == set(rates)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_project_shows_each_distinct_result_in_whatever_way_it_is_run(ran, kind):
    project = ran(kind.name)
    lock = (project.root / "dvc.lock").read_bytes()
    assert_shows(project, kind, [1])
    # changed, and changed back
    project.write(kind, 2)
    project.run("dvc", "repro")
    runs = assert_shows(project, kind, [1, 2])
    if kind.rate:
        assert f"{kind.rate}=2" in runs[2].info.run_name
    project.write(kind, 1)
    project.run("dvc", "repro")
    assert_shows(project, kind, [1, 2])
    assert (project.root / "dvc.lock").read_bytes() == lock
    assert kind.notes in project.bridge().stderr
    # experiments: with --temp, in a queue, one that fails among them
    if kind.setting:
        project.run("dvc", "exp", "run", "--temp", "--name", "apart", "-S", f"{kind.setting}=4")
        project.run("dvc", "exp", "run", "--queue", "--name", "next", "-S", f"{kind.setting}=5")
        project.run("dvc", "exp", "run", "--queue", "--name", "bad", "-S", f"{kind.setting}=13")
        project.run("dvc", "exp", "run", "--run-all", check=False)
        rates = [1, 2, 4, 5]
    else:
        project.write(kind, 4)
        project.run("dvc", "exp", "run", "--temp", "--name", "apart")
        project.write(kind, 5)
        project.run("dvc", "exp", "run", "--name", "next")
        project.write(kind, FAILS)
        project.run("dvc", "exp", "run", "--name", "bad", check=False)
        rates = [1, 2, 4, 5]
    assert_shows(project, kind, rates)
    assert project.experiments_of_runs() == {"apart", "next"}


PARAMETERS = [kind for kind in KINDS if kind.rate]


@pytest.mark.parametrize("kind", PARAMETERS, ids=lambda kind: kind.name)
def test_a_parameter_that_was_changed_and_not_run_is_refused(ran, kind):
    project = ran(kind.name)
    project.write(kind, 3)
    done = project.bridge(check=False)
    assert done.returncode == 1
    assert "run dvc repro" in done.stderr
    assert_shows(project, kind, [1])
