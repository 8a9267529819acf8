"""The bridge in projects of many kinds: each shows one complete run for each distinct result.

The projects in tests/foreign write ten times their rate as the score, and fail with the rate 13.
"""

import re
import shutil
from dataclasses import dataclass, field

import pytest
from conftest import ROOT, Checkout, once
from mlflow import MlflowClient
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

FOREIGN = ROOT / "tests/foreign"
IGNORED = "/mlflow.db*\n/.mlflow.*\n/mlflow-bridge/\n__pycache__/\n"
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
    is_queued: bool = False  # workers of the queue take seconds to start


KINDS = [
    Kind(
        "plain",
        setting="fit.rate",
        rate="fit.rate",
        scores={"test/score": 0},
        curves={"loss": {0: 0, 1: 1, 2: 2}},
        is_queued=True,
    ),
    Kind("templates", params={"scale": "10", "conf/out.folder": "a"}, is_queued=True),
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
        is_queued=True,
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

    detour = ""  # in the address of the database

    @property
    def store(self):
        return f"sqlite:///{self.root}/{self.detour}mlflow.db"

    def delete_database(self):
        """Delete it, and read the next one, not the file that MLflow here still has open."""
        (self.root / "mlflow.db").unlink()
        self.detour += "./"

    def bridge(self, *arguments, check=True, **environment):
        return self.run("python", "bridge", *arguments, check=check, **environment)

    def write(self, kind, rate):
        path = self.root / kind.file
        path.write_text(re.sub(kind.pattern, rf"\g<1>{rate}", path.read_text()))

    def replace(self, name, old, new):
        path = self.root / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def experiment(self, kind, name, rate, *options):
        """Run an experiment with another rate, in the way that the options say."""
        settings = ["-S", f"{kind.setting}={rate}"] if kind.setting else []
        if not settings:
            self.write(kind, rate)
        command = ["dvc", "exp", "run", *options, "--name", name, *settings]
        done = self.run(*command, check=False)
        assert (done.returncode == 0) == (rate != FAILS or "--queue" in options)

    def refused(self, *command):
        """Return what a command says that fails, and that adds no run."""
        before = {run.info.run_id: run.data.tags for run in self.runs()}
        done = self.run(*command, check=False)
        assert done.returncode != 0
        assert {run.info.run_id: run.data.tags for run in self.runs()} == before
        return done.stderr

    def runs(self):
        """Return all runs, each complete, no result twice."""
        client = MlflowClient(self.store, self.store)
        experiment = client.get_experiment_by_name(self.root.name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        for run in runs:
            assert run.info.status == "FINISHED"
            assert run.data.tags["bridge.complete"] == "true"
        return runs

    def curve(self, run, name):
        client = MlflowClient(self.store)
        history = client.get_metric_history(run.info.run_id, name)
        return sorted((point.step, point.value) for point in history)

    def experiments_of_runs(self):
        tags = [run.data.tags.get("dvc.experiments", "") for run in self.runs()]
        return set(" ".join(tags).split())


def new_project(name, folder, *, is_subdir=False):
    """Make a project of tests/foreign with the stage that the bridge prints, committed.

    Args:
        name: of the project.
        folder: that it lies in.
        is_subdir: whether this folder is the Git repository, and not that of the project.
    """
    project = Foreign(folder / name, folder / "site")
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FOREIGN / name, project.root, ignore=no_bytecode)
    shutil.copytree(ROOT / "src/bridge", project.root / "bridge", ignore=no_bytecode)
    (project.root / ".gitignore").write_text(IGNORED)
    repository = folder if is_subdir else project.root
    project.run("git", "init", "--quiet", "--initial-branch=main", str(repository))
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.com")
    project.run("dvc", "init", "--quiet", *(["--subdir"] if is_subdir else []))
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
    found = {}
    for run in runs:
        metrics, params = run.data.metrics, dict(run.data.params)
        rate = float(params.pop(kind.rate)) if kind.rate else metrics["score"] / 10
        found[rate] = run
        if kind.name == "live":
            assert float(params.pop("warmup")) == 3 * rate
        assert params == {key: text for key, text in kind.params.items() if key != "warmup"}
        scores = {name: 10 * rate + more for name, more in kind.scores.items()}
        assert metrics.items() >= scores.items()
        for name, points in kind.curves.items():
            assert project.curve(run, name) == [(step, rate * y) for step, y in points.items()]
        assert metrics.keys() - kind.curves.keys() - kind.scores.keys() <= {"step"}
    assert set(found) == set(rates)
    return found


def walked():
    """Return each kind as a parameter; make test walks through three, make test-more the others."""
    usual = {"plain", "templates", "live"}
    params = []
    for kind in KINDS:
        marks = () if kind.name in usual else pytest.mark.exhaustive
        params.append(pytest.param(kind, marks=marks, id=kind.name))
    return params


@pytest.mark.parametrize("kind", walked())
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
    project.experiment(kind, "apart", 4, "--temp")
    project.experiment(kind, "next", 5, *(["--queue"] if kind.is_queued else []))
    project.experiment(kind, "bad", FAILS, *(["--queue"] if kind.is_queued else []))
    if kind.is_queued:
        project.run("dvc", "exp", "run", "--run-all", check=False)
    assert_shows(project, kind, [1, 2, 4, 5])
    assert project.experiments_of_runs() == {"apart", "next"}


PARAMETERS = [kind for kind in KINDS if kind.rate]


@pytest.mark.parametrize("kind", PARAMETERS, ids=lambda kind: kind.name)
def test_a_parameter_that_was_changed_and_not_run_is_refused(ran, kind):
    project = ran(kind.name)
    project.write(kind, 3)
    assert "run dvc repro" in project.refused("python", "bridge")


def test_what_a_template_took_is_refused_with_its_name(ran):
    project = ran("templates")
    project.replace("params.yaml", "rate: 1", "rate: 3")
    message = project.refused("python", "bridge")
    assert message.startswith("error: parameters were changed (rate of params.yaml, ")
    assert '"python fit.py 3 10 a" now, but the results were made by "python fit.py 1' in message


def test_a_value_that_dvc_yaml_itself_has_is_a_parameter(ran):
    project = ran("templates")
    project.replace("dvc.yaml", "scale: 10", "scale: 20")
    assert "run dvc repro" in project.refused("python", "bridge")
    project.run("dvc", "repro")
    (run,) = [run for run in project.runs() if run.data.params["scale"] == "20"]
    assert run.info.run_name.startswith("scale=20")
    assert run.data.metrics == {"score": 20.0}


def test_a_value_of_a_description_is_no_parameter(ran):
    project = ran("templates")
    project.replace("conf.yaml", "what the stage does", "what it did")
    assert "was there" in project.bridge().stdout
    assert len(project.runs()) == 1


def test_outputs_with_another_path_need_a_stage_of_ours_that_knows_them(ran):
    project = ran("templates")
    project.replace("dvc.yaml", "- ${out.folder}/metrics.json\n", "- a/metrics.json\n")
    project.replace("conf.yaml", "folder: a", "folder: b")
    message = project.refused("python", "bridge")
    assert "the deps of stage track lack b/metrics.json, which other stages write now" in message
    project.run("dvc", "repro", "fit")
    assert "b/metrics.json" in project.refused("python", "bridge")


def test_the_stage_that_init_writes_follows_outputs_to_another_path(ran):
    project = ran("templates")
    setting = ["-S", "conf.yaml:out.folder=b"]
    project.run("dvc", "exp", "run", "--temp", "--name", "moved", *setting)
    project.run("dvc", "exp", "run", "--name", "both", *setting, "-S", "rate=2")
    found = [(run.data.params["conf/out.folder"], run.data.metrics) for run in project.runs()]
    assert found == [("b", {"score": 20}), ("b", {"score": 10}), ("a", {"score": 10})]


def test_templates_are_followed_where_they_mean_the_same_in_a_stage_of_ours(ran):
    project = ran("paths")
    pipeline = YAML(typ="safe").load(project.root / "dvc.yaml")
    assert pipeline["stages"]["track"]["deps"] == [
        "${to}/${names[0]}.json",
        "${place}/../${to}-beside/fit.json",
        "${place}/fit.json",
        "${to}-of-stage.json",
        "own-x.json",  # `vars` of the stage
        "more-y.json",  # the same, in a dict of a file
        "of-a-list-p.json",
        "of-a-matrix-1.json",
        "below/own-z.json",  # `vars` of another dvc.yaml
        "conf/${names[1]}.yaml",
    ]
    settings = ["to=out2", "names=[last,b]", "place=second"]
    project.run("dvc", "exp", "run", *(part for text in settings for part in ("-S", text)))
    assert len(project.runs()) == 2


def test_a_new_item_of_a_list_is_not_left_out_without_a_word(ran):
    project = ran("items")
    setting = ["-S", "languages=[en,pa,de]"]
    message = project.refused("dvc", "exp", "run", "--name", "german", *setting)
    assert "the deps of stage track lack scores/de.json" in message


def test_an_item_less_is_a_result_of_its_own_with_the_same_names(ran):
    project = ran("items")
    project.replace("params.yaml", "[en, pa]", "[en]")
    project.replace("dvc.yaml", "      - scores/pa.json\n", "")
    project.run("dvc", "repro")
    metrics = [set(run.data.metrics) for run in project.runs()]
    assert metrics == [{"en/score"}, {"en/score", "pa/score"}]


def test_a_frozen_stage_that_would_run_otherwise_is_refused(ran):
    project = ran("frozen")
    project.run("dvc", "freeze", "clean")
    project.replace("params.yaml", "fill: mean", "fill: zero")
    message = project.refused("dvc", "repro")
    assert "fill is zero, but the results were made with mean" in message
    assert "dvc unfreeze" in message


def test_a_parameter_in_python_code_is_known_wherever_it_stands(ran):
    project = ran("python_params")
    project.replace("conf.py", "epochs: int = 3", "epochs: int = 4")
    assert "conf.py: Fit.epochs is 4, but" in project.refused("python", "bridge")
    project.replace("conf.py", "epochs: int = 4", "epochs: int = 3")
    project.replace("conf.py", "HOME = os.sep", "HOME = os.linesep")
    assert "was there" in project.bridge().stdout


def test_files_of_parameters_beside_the_stages_are_shown_where_a_stage_reads_them(ran):
    project = ran("no_params")
    (project.root / "more.yaml").write_text("depth: 2\n")
    project.replace("dvc.yaml", "rate.txt]", "rate.txt, more.yaml]")
    with (project.root / "dvc.yaml").open("a") as file:
        file.write("params: [more.yaml]\n")
    project.run("dvc", "repro")
    project.bridge()
    assert [run.data.params for run in project.runs()] == [{"more/depth": "2"}, {}]
    (project.root / "more.yaml").write_text("depth: 3\n")
    message = "more.yaml was changed after stage"
    assert message in project.refused("python", "bridge")


def test_what_dvclive_says_in_a_dvc_yaml_of_its_own_is_found_when_it_appears(ran):
    project = ran("no_params")
    assert project.bridge().stderr == ""
    (project.root / "dvclive").mkdir()
    (project.root / "dvclive/dvc.yaml").write_text("metrics: [metrics.json]\n")
    (project.root / "dvclive/metrics.json").write_text("{}")
    assert project.bridge().stderr.startswith("note: left out: dvclive/metrics.json: no stage")


def test_a_final_value_ends_the_curve_of_its_name(ran):
    project = ran("plain")
    project.replace("fit.py", '{"test": {"score": 10 * rate}}', '{"loss": 7}')
    project.run("dvc", "repro")
    run = project.runs()[0]
    assert run.data.metrics == {"loss": 7}
    assert project.curve(run, "loss") == [(0, 0), (1, 1), (2, 2), (3, 7)]
    assert (
        "loss is a metric and a curve that ends in another value" in project.bridge("check").stdout
    )


def test_a_description_has_the_numbers_of_the_commit_if_dvcs_cache_has_them(ran):
    project = ran("plain")
    project.write(BY_NAME["plain"], 2)
    project.run("dvc", "repro")
    run = next(run for run in project.runs() if run.data.params["fit.rate"] == "2")
    commit = project.run("git", "rev-parse", "--short=7", "HEAD").stdout.strip()
    lines = run.data.tags["mlflow.note.content"].splitlines()
    assert f"| | here | commit {commit} |" in lines
    assert "| test/score | 20 | 10 |" in lines
    assert "| fit.rate | 2 | 1 |" in lines


def test_a_long_lock_is_read_once_and_again_when_it_changes(ran):
    project = ran("plain")
    lock = project.root / "dvc.lock"
    long = "# a comment\n" * 2000
    lock.write_text(lock.read_text() + long)
    assert "was there" in project.bridge().stdout
    assert (project.root / ".dvc/tmp/bridge.lock").exists()
    assert "was there" in project.bridge().stdout
    lock.write_text(lock.read_text().replace("rate: 1", "rate: 9"))
    assert "rate is 1, but the results were made with 9" in project.refused("python", "bridge")


def with_outputs_outside(project, away):
    """Let the stage write to another folder, too: by path, and as a remote of DVC."""
    (away / "far").mkdir(parents=True)
    (away / "points.csv").write_text("x,y\n")
    project.run("dvc", "remote", "add", "--quiet", "far", str(away / "far"))
    with (project.root / "fit.py").open("a") as file:
        file.write(f"""
away = Path({str(away)!r})
(away / "numbers.json").write_text(json.dumps({{"speed": rate}}))
(away / "gain.csv").write_text(f"step,gain\\n0,{{rate}}\\n")
(away / "far/far.json").write_text(json.dumps({{"far": rate}}))
""")
    project.replace("dvc.yaml", "deps: [fit.py]", f"deps: [fit.py, {away}/points.csv]")
    outside = ("metrics.json", f"{away}/numbers.json: {{cache: false}}")
    project.replace("dvc.yaml", "[metrics.json]", f"[{', '.join(outside)}]")
    plots = f"plots:\n      - {away}/gain.csv: {{x: step, cache: false}}\n"
    plots += '      - "remote://far/far.json": {cache: false}\n'
    project.replace("dvc.yaml", "plots:\n", plots)
    project.bridge("init", "--yes", "--force")
    project.commit("outside")


def test_outputs_outside_of_the_project_are_part_of_a_result_and_not_kept(ran, tmp_path):
    project = ran("plain")
    with_outputs_outside(project, tmp_path / "away")
    project.run("dvc", "repro")
    project.commit("results")
    project.run("dvc", "exp", "run", "--temp", "-S", "fit.rate=4")
    project.run("dvc", "exp", "run", "-S", "fit.rate=5")
    client = MlflowClient(project.store)
    runs = project.runs()[:3]
    assert len(project.runs()) == 4  # with that of before
    for run, rate in zip(runs, (5, 4, 1), strict=True):
        assert run.data.metrics["numbers/speed"] == run.data.metrics["gain"] == rate
        assert not any("far" in name for name in run.data.metrics)
        assert {"dvc.md5.remote:/far/far.json"} < run.data.tags.keys()
        assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["points"]
        kept = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert kept == {"history.csv", "metrics.json"}


def test_a_number_outside_of_the_project_is_that_of_the_result_or_refused(ran, tmp_path):
    project = ran("plain")
    with_outputs_outside(project, tmp_path / "away")
    project.run("dvc", "repro")
    project.commit("results")
    project.run("dvc", "exp", "run", "--temp", "--name", "other", "-S", "fit.rate=4")
    project.delete_database()
    wanted = f"error: {tmp_path}/away/gain.csv is not what its stage wrote (dvc.lock): run"
    assert wanted in project.refused("python", "bridge")
    assert re.search(r"other +published", project.bridge("publish", "--experiments").stdout)
    project.run("dvc", "repro")
    project.bridge()  # the database is new, and the stage has nothing to do
    assert [run.data.metrics["numbers/speed"] for run in project.runs()] == [1, 4]


def test_a_project_in_a_folder_of_a_repository_is_published_like_any_other(tmp_path):
    repository = tmp_path / "repository"
    (repository / "shared").mkdir(parents=True)
    (repository / "shared/points.csv").write_text("x,y\n")
    project = new_project("plain", repository, is_subdir=True)
    project.replace("dvc.yaml", "deps: [fit.py]", "deps: [fit.py, ../shared/points.csv]")
    project.run("dvc", "repro")
    project.commit("results")
    kind = BY_NAME["plain"]
    project.experiment(kind, "apart", 4, "--temp")
    project.experiment(kind, "next", 5)
    runs = assert_shows(project, kind, [1, 4, 5])
    assert project.experiments_of_runs() == {"apart", "next"}
    assert {run.data.tags["mlflow.source.name"] for run in runs.values()} == {"plain"}
    assert [data.dataset.name for data in runs[4].inputs.dataset_inputs] == ["points"]
    project.delete_database()
    project.bridge("publish", "--all-commits")
    runs = assert_shows(project, kind, [1, 4, 5])
    assert runs[1].data.tags["git.dirty"] == "false"
