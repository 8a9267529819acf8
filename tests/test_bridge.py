"""The bridge in a project that is not ours: what MLflow shows of it, and one run a result."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import ROOT, Checkout, once
from mlflow import MlflowClient
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

STRANGE = ROOT / "tests/strange"
IGNORED = "/mlflow.db*\n/.mlflow.*\n/mlflow-bridge/\n/out/\n__pycache__/\n"
ITEMS = ["ridge", "lasso"]
PARTS = ["weights.txt", "fit.json", "gap.json", "history.tsv", "roc.csv", "logs", "frames"]
SHARED = ["clean", "tables/confusion.csv", "figures/scores.png"]
SCORES = [f"score/{item}{fold}.json" for item in ITEMS for fold in (0, 1)]
OUTS = {f"out/{name}" for name in [*SHARED, *SCORES]}
OUTS |= {f"out/{item}/{part}" for item in ITEMS for part in PARTS}
ALL_OUTS = {*OUTS, "report/best.json"}
PICTURES = {"out/figures/scores.png", "out/ridge/frames", "out/lasso/frames"}
PARAMS_FILES = {"params.yaml", "conf/model.toml", "report/params.yaml"}


class Strange(Checkout):
    """A checkout of the strange project."""

    def bridge(self, *arguments, check=True, **environment):
        return self.run("python", "bridge", *arguments, check=check, **environment)

    def refused(self, **environment):
        """Return what the bridge says where it publishes nothing."""
        done = self.bridge(check=False, **environment)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    def set(self, key, value):
        path = self.root / "params.yaml"
        path.write_text(re.sub(rf"( {key}:) .*", rf"\1 {value}", path.read_text()))

    @property
    def store(self):
        return f"sqlite:///{self.root / 'mlflow.db'}"

    def all_runs(self):
        """Return all runs; MLflow, here, may still have a file open that was replaced."""
        uri = f"sqlite:///{self.root}/./mlflow.db"
        client = MlflowClient(uri, uri)
        experiment = client.get_experiment_by_name(self.root.name)
        return client.search_runs([experiment.experiment_id])

    def run_ids(self):
        """Return the ids of all runs: each is complete, and no result has two."""
        client = MlflowClient(self.store, self.store)
        experiment = client.get_experiment_by_name(self.root.name)
        runs = client.search_runs([experiment.experiment_id])
        for run in runs:
            assert_complete(client, run)
        results = {(*sorted(run.data.params.items()), *hashes_of(run).items()) for run in runs}
        assert len(results) == len(runs), "one result twice"
        return {run.info.run_id for run in runs}

    def experiments(self):
        """Return the names of the DVC experiments, as DVC lists them."""
        names = set()
        for baseline in json.loads(self.run("dvc", "exp", "show", "--json").stdout):
            if baseline["rev"] != "workspace":
                names |= {experiment["name"] for experiment in baseline["experiments"] or []}
        return names

    def experiments_of_runs(self):
        """Return the names of the DVC experiments that the runs say they had."""
        tags = [run.data.tags.get("dvc.experiments", "") for run in self.all_runs()]
        return set(" ".join(tags).split())


@pytest.fixture(scope="session")
def new(tmp_path_factory):
    """The project with the stage that the bridge prints, committed; nothing has run."""

    def make(folder):
        project = Strange(folder / "weather", folder / "site")
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(STRANGE / "project", project.root, ignore=no_bytecode)
        shutil.copytree(ROOT / "src/bridge", project.root / "bridge", ignore=no_bytecode)
        (project.root / ".gitignore").write_text(IGNORED)
        project.run("git", "init", "--quiet", "--initial-branch=main")
        project.run("git", "config", "user.name", "Test")
        project.run("git", "config", "user.email", "test@example.com")
        project.run("dvc", "init", "--quiet")
        project.run("dvc", "add", "--quiet", "raw/stations.csv", "raw/photos")
        printed = project.bridge("--stage")
        for line in ("dvc.yaml", "/mlflow.db*", "/mlflow-bridge/", ".gitignore"):
            assert line in printed.stderr
        pipeline = project.root / "dvc.yaml"
        stages = pipeline.read_text().replace("stages:\n", "stages:\n" + printed.stdout, 1)
        pipeline.write_text(stages)
        project.commit("start")

    folder = once(tmp_path_factory, "strange", make)
    return Strange(folder / "weather", folder / "site")


@pytest.fixture(scope="session")
def ran(new, tmp_path_factory):
    """The project after its first `dvc repro`, committed; to change it, take `project`."""

    def make(folder):
        project = copied(new, folder)
        project.run("dvc", "repro")
        project.commit("results")

    folder = once(tmp_path_factory, "strange-ran", make)
    return Strange(folder / "weather", folder / "site")


@pytest.fixture
def project(ran, tmp_path):
    """A copy of the project that has run: as a checkout that was moved."""
    return copied(ran, tmp_path)


def copied(project, folder):
    root = shutil.copytree(project.root, folder / "weather", symlinks=True)
    return Strange(root, folder / "site")


def expected(params):
    """By item, what the stages give with these parameters: numbers by name, and curves by step."""
    found = {}
    for item, part in (("ridge", 1), ("lasso", 2)):
        rate, size = float(params["fit.rate"]) / part, int(params["keep"])
        losses = [size / (1 + rate * (epoch + 1)) for epoch in range(int(params["fit.epochs"]))]
        numbers = {
            "train/rmse": losses[-1],
            "train/error/max": 2 * losses[-1],
            "score": 1 / losses[-1],
        }
        curves = {"loss": dict(enumerate(losses))}
        curves["speed"] = {epoch: epoch / 4 for epoch in range(len(losses))}
        curves["gap"] = {10 * epoch: loss for epoch, loss in enumerate(losses)}
        curves["depth"] = {step: step * rate for step in range(3)}
        found[item] = numbers, curves
    return found


def assert_complete(client, run):
    """Where mlflow.yaml says nothing: a finished run with all of its parts, each once."""
    assert run.info.status == "FINISHED" and run.data.tags["bridge.complete"] == "true"
    params = dict(run.data.params)
    made = expected({**params, "keep": params["clean.keep"]})
    assert params == {
        "clean.keep": params["clean.keep"],
        "clean.columns": "['rain', 'wind']",
        "clean.strict": "True",
        "clean.fill": "mean",
        "fit.seed": "4",
        "model/fit.seed": "2",
        "fit.rate": params["fit.rate"],
        "fit.epochs": params["fit.epochs"],
        "model/solver.name": "cg",
        "layout/home": "steps",
        "layout/out": "out",
        "title": "What came out",
    }

    points = {}
    for item, (numbers, curves) in made.items():
        for key, value in numbers.items():
            points[f"{item}/fit/{key}"] = {0: value}
        for key in ("loss", "speed", "gap"):
            points[f"{item}/{key}"] = curves[key]
    # Of ridge only the logs are plots, of lasso only the width.
    points["ridge/depth"] = made["ridge"][1]["depth"]
    points["lasso/gap/width"] = {0: 1.0}
    points["best"] = {0: made["ridge"][0]["train/rmse"]}
    points |= {"ridge-0/ridge0/test/rmse": points["best"], "ridge-0/ridge0/test/size": {0: 20.0}}
    assert set(run.data.metrics) == set(points)
    for key, values in points.items():
        history = client.get_metric_history(run.info.run_id, key)
        assert sorted((point.step, point.value) for point in history) == sorted(values.items()), key

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        kept = Path(client.download_artifacts(run.info.run_id, "", folder))
        for out in ALL_OUTS:
            assert (kept / out).exists(), out
        files = [file for file in kept.rglob("*") if file.is_file()]
        assert (
            len(files) == len(ALL_OUTS) + 1 + 2 * 2
        )  # two files in clean, three frames for each item
    assert set(hashes_of(run)) == ALL_OUTS - PICTURES


def hashes_of(run):
    """Return the hashes of a run's files by path, as its tags say them."""
    hashes = {}
    for key, value in sorted(run.data.tags.items()):
        if key.startswith("dvc.md5."):
            hashes[key.removeprefix("dvc.md5.")] = value
    return hashes


def locked_stages(project):
    return YAML(typ="safe").load(project.root / "dvc.lock")["stages"]


def stages_run(done):
    """Return the names of the stages that `dvc repro` ran."""
    return re.findall("Running stage '(.*)'", done.stdout)


def test_with_nothing_said_a_run_shows_the_whole_result(ran):
    assert len(ran.run_ids()) == 1
    assert ran.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert ran.run("git", "status", "--porcelain").stdout == ""


def test_a_run_has_the_hashes_of_dvc_lock(ran):
    (run,) = ran.all_runs()
    written = {}
    for name, stage in locked_stages(ran).items():
        folder = "steps" if name == "clean" else "."
        for out in stage["outs"]:
            written[os.path.normpath(Path(folder, out["path"]))] = out["md5"]
    hashes = hashes_of(run)
    del hashes["report/best.json"]  # another dvc.lock has it
    assert hashes.items() <= written.items()


def test_a_run_has_the_data_that_no_stage_writes(ran):
    (run,) = ran.all_runs()
    data = {used.dataset.name: used.dataset.digest for used in run.inputs.dataset_inputs}
    deps = [dep for dep in locked_stages(ran)["clean"]["deps"] if "raw" in dep["path"]]
    assert data == {Path(dep["path"]).stem: dep["md5"] for dep in deps}
    assert f"raw/photos ({data['photos']})" in run.data.tags["mlflow.note.content"]


def test_a_run_says_where_it_comes_from_and_how_to_get_it_back(ran):
    (run,) = ran.all_runs()
    commit = ran.run("git", "rev-parse", "HEAD~1").stdout.strip()
    tags = run.data.tags
    assert (tags["mlflow.source.git.commit"], tags["git.dirty"]) == (commit, "false")
    assert run.info.run_name == commit[:7]
    about = tags["mlflow.note.content"]
    assert "| best | 2 |" in about
    assert f"`git checkout {commit[:7]}`, then `dvc checkout` or `dvc repro`" in about


def test_the_printed_stage_names_every_output_and_every_file_of_parameters(ran):
    printed = YAML(typ="safe").load(ran.bridge("--stage").stdout)["track"]
    deps = [dep.replace("${home}", "home").replace("${out}", "out") for dep in printed["deps"]]
    assert {os.path.normpath(dep) for dep in deps} == ALL_OUTS | PARAMS_FILES
    assert printed["cmd"] == "python bridge"
    assert printed["outs"] == [{"mlflow-bridge/receipt.json": {"cache": False}}]


def test_run_again_and_forced_and_moved_it_is_the_same_run(project):
    assert "was there" in project.bridge().stdout
    first = project.run_ids()
    lock = (project.root / "dvc.lock").read_bytes()
    assert stages_run(project.run("dvc", "repro")) == []
    assert "track" in stages_run(project.run("dvc", "repro", "--force"))
    assert project.run_ids() == first
    assert (project.root / "dvc.lock").read_bytes() == lock


def test_a_parameter_changed_and_changed_back_gives_one_run_for_each_value(project):
    lock = (project.root / "dvc.lock").read_bytes()
    project.set("keep", 4)
    project.run("dvc", "repro")
    runs = project.run_ids()
    assert len(runs) == 2
    project.set("keep", 3)
    project.run("dvc", "repro")
    assert project.run_ids() == runs
    assert (project.root / "dvc.lock").read_bytes() == lock


def test_changed_data_give_a_run_that_is_dirty(project):
    (first,) = project.run_ids()
    data = project.root / "raw/stations.csv"
    data.write_text(data.read_text() + "6,36\n")
    project.run("dvc", "repro")
    tags = {run.info.run_id: run.data.tags["git.dirty"] for run in project.all_runs()}
    assert project.run_ids() == tags.keys()
    assert sorted(tags.values()) == ["false", "true"]
    assert tags[first] == "false"


def test_a_second_experiment_with_the_same_result_gives_its_name_to_the_run(project):
    for name in ("one", "two"):
        project.run("dvc", "exp", "run", "--name", name, "--set-param", "fit.epochs=6")
    runs = project.run_ids()
    assert len(runs) == 2
    assert project.experiments_of_runs() == {"one"}  # the second time nothing ran
    project.bridge(DVC_EXP_NAME="two")
    assert project.run_ids() == runs
    assert project.experiments_of_runs() == {"one", "two"}


def test_a_picture_drawn_again_belongs_to_the_run_that_is_there(project, tmp_path):
    (run_id,) = project.run_ids()
    project.set("shade", 9)
    assert stages_run(project.run("dvc", "repro")) == ["draw", "track"]
    assert project.run_ids() == {run_id}
    client = MlflowClient(project.store)
    picture = client.download_artifacts(run_id, "out/figures/scores.png", str(tmp_path))
    assert Path(picture).read_bytes() == (project.root / "out/figures/scores.png").read_bytes()


def test_a_parameter_that_changes_no_byte_is_another_result(project):
    """It is known now that it changes nothing."""
    project.set("seed", 5)
    assert "track" in stages_run(project.run("dvc", "repro"))
    assert len(project.all_runs()) == 2


@pytest.mark.parametrize("folder", [".", "report"])
def test_nothing_new_imports_nothing_that_is_slow_from_whichever_folder(ran, folder):
    path = os.path.relpath(ran.root / "bridge", ran.root / folder)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", path],
        cwd=ran.root / folder,
        env=ran.environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("was there") == 1
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "bridge" in imported
    assert not imported & {"mlflow", "dvc", "numpy", "sqlalchemy", "PIL"}


def test_a_store_that_was_deleted_is_built_again(project):
    for file in project.root.glob("mlflow.db*"):
        file.unlink()
    assert project.bridge().stdout.count("published") == 1
    assert len(project.all_runs()) == 1


def test_a_reader_that_has_enough_ends_the_bridge_without_a_word(project):
    done = project.run("sh", "-c", "python bridge | true")
    assert (done.stdout, done.stderr) == ("", "")


def test_experiments_in_other_folders_and_in_a_queue_share_the_store_that_none_has_made_yet(
    new, tmp_path
):
    project = copied(new, tmp_path)
    # DVC fails now and then if workers put one stage into its cache at once.
    project.run("dvc", "repro", "clean")
    project.run("dvc", "exp", "run", "--queue", "--set-param", "fit.epochs=2,3,4")
    project.run("dvc", "exp", "run", "--run-all", "--jobs", "3")
    project.run("dvc", "exp", "run", "--temp", "--set-param", "fit.epochs=3")
    project.run("dvc", "exp", "run", "--temp", "--name", "apart", "--set-param", "clean.keep=2")
    assert len(project.run_ids()) == 4
    assert project.experiments_of_runs() == project.experiments()
    assert len(project.experiments()) == 5


# Kills the bridge, and DVC with it, when it is about to write to a file, to rename one or to open
# a database.
KILLING = """\
import os, signal, sys

moments = 0


def moment(name, arguments):
    global moments
    writes = name == "open" and set("wax+") & set(str(arguments[1]))
    writes = writes and os.environ["HERE"] in str(arguments[0])
    if writes or name in ("os.rename", "sqlite3.connect"):
        moments += 1
        if moments == int(os.environ["KILL"]):
            os.killpg(0, signal.SIGKILL)
        with open(os.environ["MOMENTS"], "w") as file:
            file.write(str(moments))


if "bridge" in sys.orig_argv[1:2]:
    sys.addaudithook(moment)
"""


def repro_killed(ran, folder, moment):
    """Return a copy that has no store yet, and the exit code of a `dvc repro` that was killed.

    Args:
        moment: how many writes come before; 0 to kill nothing and count them.
    """
    project = copied(ran, folder)
    shutil.rmtree(project.root / "mlflow-bridge")
    (project.root / "mlflow.db").unlink()
    patch = folder / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(KILLING)
    variables = {"PYTHONPATH": patch, "HERE": project.root, "KILL": moment}
    variables["MOMENTS"] = folder / "moments"
    done = subprocess.run(
        ["dvc", "repro"],
        cwd=project.root,
        env={**project.environment, **{key: str(value) for key, value in variables.items()}},
        capture_output=True,
        start_new_session=True,
    )
    return project, done.returncode


@pytest.mark.exhaustive
def test_killed_at_any_moment_and_run_again_there_is_one_complete_run(ran, tmp_path):
    _, status = repro_killed(ran, tmp_path / "whole", 0)
    moments = int((tmp_path / "whole/moments").read_text())
    assert status == 0
    assert moments > 30
    for part in range(5):
        moment = 2 + (moments - 3) * part // 4
        project, status = repro_killed(ran, tmp_path / str(part), moment)
        assert status == -signal.SIGKILL
        assert "track" in stages_run(project.run("dvc", "repro"))
        assert len(project.run_ids()) == 1


CHANGED = "error: params.yaml: fit.rate is 0.2, but the results were made with 0.1: run dvc repro"


def test_parameters_that_were_changed_and_not_run_are_refused(project):
    project.set("rate", 0.2)
    assert project.refused().startswith(CHANGED)


def test_parameters_that_were_changed_are_refused_without_a_store_too(project):
    (project.root / "mlflow.db").unlink()
    project.set("rate", 0.2)
    assert project.refused().startswith(CHANGED)
    assert not (project.root / "mlflow.db").exists()


def test_the_same_number_written_otherwise_is_no_change(project):
    project.set("rate", "0.10")
    assert "was there" in project.bridge().stdout


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("out/ridge/weights.txt", "0.0\n", "out/ridge/weights.txt"),
        ("out/clean/more.csv", "", "out/clean"),
    ],
)
def test_a_file_that_is_not_what_its_stage_wrote_is_refused(project, path, content, named):
    (project.root / "mlflow.db").unlink()
    file = project.root / path
    file.unlink(missing_ok=True)
    file.write_text(content)
    message = f"error: {named} is not what its stage wrote (dvc.lock): run dvc repro."
    assert project.refused().startswith(message)


def test_a_file_that_is_missing_is_named_with_what_brings_it_back(project):
    (project.root / "mlflow.db").unlink()
    (project.root / "out/ridge/weights.txt").unlink()
    message = "out/ridge/weights.txt is missing: run dvc pull or dvc repro, which bring it back"
    assert project.refused() == f"error: {message}\n"
    checked = project.bridge("check", check=False)
    assert "missing: 1: out/ridge/weights.txt: dvc pull or dvc repro brings" in checked.stdout


def test_a_stage_that_has_not_run_is_refused(project):
    lock = project.root / "dvc.lock"
    lock.write_text(re.sub(r"  draw:\n(   .*\n)+", "", lock.read_text()))
    message = "stage draw has not run, so there is no result to publish: run dvc repro first"
    assert project.refused() == f"error: {message}\n"


@pytest.mark.parametrize(
    "content", [b"{", b"stages: {clean: [1]}", b"stages: {clean: {outs: [a]}}", b"\xff\xfe"]
)
def test_a_corrupted_lock_is_refused(project, content):
    (project.root / "dvc.lock").write_bytes(content)
    assert project.refused().startswith("error: cannot use dvc.lock")


def test_a_result_that_is_newer_than_what_was_made_from_it_is_refused(project):
    project.set("keep", 5)
    project.run("dvc", "repro", "clean")  # and nothing of what is made from a file in its folder
    message = "error: out/clean/table.csv was changed after stage fit@ridge read it: run dvc repro"
    assert project.refused() == f"{message}\n"


def test_a_server_that_is_down_loses_nothing(project):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        message = project.refused(MLFLOW_TRACKING_URI=address)
    assert message.startswith(f"error: cannot publish to {address}: ")
    assert "\nNothing that was computed is lost" in message
    assert "python bridge publishes it" in message


def test_without_git_and_with_files_that_dvc_does_not_count_it_publishes_all_the_same(project):
    (project.root / "mlflow.db").unlink()
    (project.root / ".dvcignore").write_text(".DS_Store\n")  # what a file manager leaves
    for folder in ("out/clean", "out/ridge/frames"):
        (project.root / folder / ".DS_Store").touch()
    done = project.bridge(PATH=str(Path(sys.executable).parent))  # no git there
    assert done.stdout.count("published") == 1
    assert done.stderr == ""
    (run,) = project.all_runs()
    assert run.data.tags["git.dirty"] == "unknown"
    assert run.info.run_name.startswith("no-git-")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("images: {scores: out/score/ridge0.json}", "ridge0.json is no picture that Pillow can"),
        ("params: {'a#b': 1}", "MLflow does not accept the name 'a#b'"),
        (
            "model: {loader: a, file: out/clean, inputs: [odd, [1]], outputs: [int8, [1]]}",
            "no type",
        ),
    ],
)
def test_settings_that_cannot_be_published_begin_no_run(project, setting, message):
    (project.root / "mlflow.yaml").write_text(setting + "\n")
    project.set("seed", 5)
    done = project.run("dvc", "repro", check=False)
    assert message in done.stderr
    assert "publishes it" not in done.stderr
    assert len(project.all_runs()) == 1


@pytest.fixture(scope="module")
def with_model(ran, tmp_path_factory):
    """The project with a mlflow.yaml: a run for each of two models, and a champion."""
    project = copied(ran, tmp_path_factory.mktemp("with-model"))
    shutil.copytree(STRANGE / "model", project.root, dirs_exist_ok=True)
    pipeline = project.root / "dvc.yaml"
    pasted = re.search(r"stages:\n(  track:\n(?:    .*\n)+)", pipeline.read_text())[1]
    printed = project.bridge("--stage").stdout
    assert "      - mlflow.yaml\n" in printed
    pipeline.write_text(pipeline.read_text().replace(pasted, printed))
    project.run("dvc", "repro")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    project.commit("runs")
    return project


def runs_by_model(project):
    """Return the runs that have a model, by its name."""
    client = MlflowClient(project.store, project.store)
    experiment = client.get_experiment_by_name("weather")
    complete = "tags.bridge.complete = 'true' and params.model LIKE '%'"
    runs = client.search_runs([experiment.experiment_id], complete)
    return {run.data.params["model"]: run for run in runs}


def test_a_few_lines_make_several_runs_with_names_of_their_own(with_model):
    runs = runs_by_model(with_model)
    assert set(runs) == set(ITEMS)
    client = MlflowClient(with_model.store)
    for item, run in runs.items():
        numbers, curves = expected({**run.data.params, "keep": 3})[item]
        final = {
            "rmse": numbers["train/rmse"],
            "error/max": numbers["train/error/max"],
            "score": numbers["score"],
        }
        assert final.items() <= run.data.metrics.items()
        history = client.get_metric_history(run.info.run_id, "speed")
        assert {point.step: point.value for point in history} == curves["speed"]
        assert "loss" not in run.data.metrics
        assert run.data.params["data.fill"] == "mean"
        assert item in run.info.run_name


def test_a_few_lines_make_images_with_steps_and_keep_fewer_files(with_model, tmp_path):
    client = MlflowClient(with_model.store)
    for item, run in runs_by_model(with_model).items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            kept = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
        names = {file.name.split("+timestamp")[0] for file in (kept / "images").glob("*.png")}
        frames = {f"frames by step+step+{step}" for step in (0, 50, 100)}
        assert names == frames | {"last frame+step+0"}
        assert [file.name for file in (kept / "out" / item).iterdir()] == ["weights.txt"]
        shutil.rmtree(kept / "images")


def test_a_few_lines_make_a_model_that_can_be_loaded(with_model):
    mlflow.set_tracking_uri(with_model.store)
    for item, run in runs_by_model(with_model).items():
        numbers, _ = expected({**run.data.params, "keep": 3})[item]
        (output,) = run.outputs.model_outputs
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        predicted = model.predict(np.array([[1.0, 2.0]]))
        np.testing.assert_allclose(predicted, 3 * numbers["train/rmse"], rtol=1e-12)


def champions(project):
    """Return by alias the model, and the rows and epochs that it was made with."""
    client = MlflowClient(project.store, project.store)
    found = {}
    for alias, number in client.get_registered_model("weather").aliases.items():
        version = client.get_model_version("weather", number)
        params = client.get_run(version.run_id).data.params
        found[alias] = params["model"], params["data.keep"], params["fit.epochs"]
    return found


def test_the_champion_is_the_best_on_the_data_of_the_commit(with_model, tmp_path):
    project = copied(with_model, tmp_path)
    first = ("ridge", "3", "5")
    (own,) = set(champions(project)) - {"champion"}
    assert champions(project) == {"champion": first, own: first}
    # Better numbers on other data leave the champion alone.
    for key, value, epochs in (("keep", 2, "5"), ("epochs", 9, "9")):
        project.set(key, value)
        project.run("dvc", "repro")
        (other,) = set(champions(project)) - {"champion", own}
        assert champions(project) == {"champion": first, own: first, other: ("ridge", "2", epochs)}
    # Once these data are committed, it moves to them.
    project.commit("two rows")
    project.set("epochs", 8)  # not as good as nine
    project.run("dvc", "repro")
    best = {"champion": ("ridge", "2", "9"), own: first, other: ("ridge", "2", "9")}
    assert champions(project) == best
    # A training that came to nothing is the best of none, not even as the first on its data.
    project.set("keep", 1)
    project.set("rate", "NaN")
    project.run("dvc", "repro")
    assert champions(project) == best
    project.set("rate", 0.1)
    project.run("dvc", "repro")
    (last,) = champions(project).keys() - best
    assert champions(project) == {**best, last: ("ridge", "1", "8")}


def test_what_dvc_says_of_a_pipeline(ran):
    """DVC's index is no documented interface; asked from another folder, as a stage in one does."""
    code = "import json, dataclasses, pathlib, bridge.dvc_index as dvc_index\n"
    code += f"index = dvc_index.ask_dvc(pathlib.Path({str(ran.root)!r}))\n"
    code += "print(json.dumps(dataclasses.asdict(index)))"
    asked = json.loads(
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ran.root / "report",
            env={**ran.environment, "PYTHONPATH": str(ran.root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert asked["watched"] == ["conf/layout.yaml", "dvc.yaml", "params.yaml", "report/dvc.yaml"]
    scores = [f"score@{item}-{fold}" for item in ITEMS for fold in (0, 1)]
    names = [
        "clean",
        *(f"fit@{item}" for item in ITEMS),
        *scores,
        "confuse",
        "draw",
        "track",
        "report/dvc.yaml:sum-up",
    ]
    assert sorted(asked["stages"]) == sorted(names)
    assert asked["stages"]["clean"] == {
        "lock": "dvc.lock",
        "name": "clean",
        "wdir": "steps",
        "cmd": "python step.py clean ../raw/stations.csv ../out/clean",
        "deps": ["steps/step.py", "raw/stations.csv", "raw/photos"],
        "outs": ["out/clean"],
        "params": ["params.yaml"],
        "after": [],
        "used": {"conf/layout.yaml": {"home": "steps", "out": "out"}},
        "has_template_cmd": True,
        "has_template_outs": True,
        "templates": {"out/clean": "${home}/../${out}/clean"},
    }
    report = asked["stages"]["report/dvc.yaml:sum-up"]
    assert (report["lock"], report["name"], report["wdir"]) == (
        "report/dvc.lock",
        "sum-up",
        "report",
    )
    assert (report["outs"], report["params"]) == (["report/best.json"], ["report/params.yaml"])
    files = [
        *(f"out/{item}/fit.json" for item in ITEMS),
        "report/best.json",
        "out/score/ridge0.json",
    ]
    assert sorted(asked["metrics"]) == sorted(files)
    tables = [
        [f"out/{item}/history.tsv", "epoch", [column]]
        for item in ITEMS
        for column in ("loss", "speed")
    ]
    tables += [[f"out/{item}/roc.csv", "fpr", ["tpr"]] for item in ITEMS]
    tables += [
        ["out/tables/confusion.csv", "actual", ["predicted"]],
        ["out/lasso/gap.json", "epoch", ["gap", "width"]],
    ]
    tables += [["out/ridge/gap.json", "epoch", ["gap"]], ["out/ridge/logs", "step", []]]
    tables += [["out/ridge/frames", "", []]]
    curves = [[table["path"], table["x"], table["columns"]] for table in asked["curves"]]
    assert sorted(curves) == sorted(tables)
