"""The bridge in a project that is not ours: what it shows there, and that there is one run for each result."""

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
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from conftest import ROOT, Checkout, once
from mlflow import MlflowClient
from ruamel.yaml import YAML
from strange import FILES, LOADER, SETTINGS

from bridge.errors import UserError
from bridge.files import flat, is_picture, read, read_table
from bridge.results import load_results, named, points_of
from bridge.settings import load_settings
from bridge.stages import Pipeline

IGNORED = "/mlflow.db*\n/.mlflow.*\n/mlruns/\n/out/\n__pycache__/\n"
ITEMS = ["ridge", "lasso"]
OUTS = ["clean", "score/ridge0.json", "score/ridge1.json", "score/lasso0.json", "score/lasso1.json"]
OUTS += ["tables/confusion.csv", "figures/scores.png"]
PARTS = ["weights.txt", "fit.json", "gap.json", "history.tsv", "roc.csv", "logs", "frames"]


class Strange(Checkout):
    """A checkout of the strange project."""

    def bridge(self, *arguments, check=True, **environment):
        return self.run("python", "bridge", *arguments, check=check, **environment)

    def set(self, key, value):
        path = self.root / "params.yaml"
        path.write_text(re.sub(rf"( {key}:) .*", rf"\1 {value}", path.read_text()))

    @property
    def store(self):
        return f"sqlite:///{self.root / 'mlflow.db'}"

    def runs(self):
        """Ids of all runs, each found complete; by what its parameters give."""
        client = MlflowClient(self.store, self.store)
        number = client.get_experiment_by_name(self.root.name).experiment_id
        runs = client.search_runs([number])
        for run in runs:
            assert_complete(client, run)
        results = {(*sorted(run.data.params.items()), *hashes_of(run).items()) for run in runs}
        assert len(results) == len(runs), "one result twice"
        return {run.info.run_id for run in runs}


@pytest.fixture(scope="session")
def new(tmp_path_factory):
    """The project with the stage pasted that the bridge prints, committed; nothing has run. To be copied."""

    def make(folder):
        project = Strange(folder / "weather", folder / "site")
        for name, text in {**FILES, ".gitignore": IGNORED}.items():
            (project.root / name).parent.mkdir(parents=True, exist_ok=True)
            (project.root / name).write_text(text)
        shutil.copytree(
            ROOT / "src/bridge",
            project.root / "bridge",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        project.run("git", "init", "--quiet", "--initial-branch=main")
        project.run("git", "config", "user.name", "Test")
        project.run("git", "config", "user.email", "test@example.com")
        project.run("dvc", "init", "--quiet")
        project.run("dvc", "add", "--quiet", "raw/stations.csv", "raw/photos")
        told = project.bridge("--stage")
        assert all(
            line in told.stderr for line in ("dvc.yaml", "/mlflow.db*", "/mlruns/", ".gitignore")
        )
        pipeline = project.root / "dvc.yaml"
        pipeline.write_text(pipeline.read_text().replace("stages:\n", "stages:\n" + told.stdout, 1))
        project.commit("start")

    folder = once(tmp_path_factory, "strange", make)
    return Strange(folder / "weather", folder / "site")


@pytest.fixture(scope="session")
def ran(new, tmp_path_factory):
    """The project after its first `dvc repro`, committed. Tests that change it copy it."""

    def make(folder):
        project = copied(new, folder)
        project.run("dvc", "repro")
        project.commit("results")

    folder = once(tmp_path_factory, "strange-ran", make)
    return Strange(folder / "weather", folder / "site")


def copied(project, folder):
    """The project somewhere else, under the same name: as a checkout that was moved."""
    return Strange(
        shutil.copytree(project.root, folder / "weather", symlinks=True), folder / "site"
    )


def expected(params):
    """By item, what the stages give with these parameters: numbers by name, and curves by step."""
    found = {}
    for item, part in (("ridge", 1), ("lasso", 2)):
        rate, size = float(params["fit.rate"]) / part, int(params["keep"])
        losses = [size / (1 + rate * (epoch + 1)) for epoch in range(int(params["fit.epochs"]))]
        numbers = {
            "train.rmse": losses[-1],
            "train.error.max": 2 * losses[-1],
            "score": 1 / losses[-1],
        }
        curves = {"history.tsv.loss": dict(enumerate(losses))}
        curves["history.tsv.speed"] = {epoch: epoch / 4 for epoch in range(len(losses))}
        curves["gap.json.gap"] = {10 * epoch: loss for epoch, loss in enumerate(losses)}
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
        "params.yaml.fit.seed": "4",
        "conf/model.toml.fit.seed": "2",
        "fit.rate": params["fit.rate"],
        "fit.epochs": params["fit.epochs"],
        "solver.name": "cg",
        "title": "What came out",
    }

    points = {}
    for item, (numbers, curves) in made.items():
        for key, value in numbers.items():
            points[f"out/{item}/fit.json.{key}"] = {0: value}
        for key in ("history.tsv.loss", "history.tsv.speed", "gap.json.gap"):
            points[f"out/{item}/{key}"] = curves[key]
    points["depth"] = made["ridge"][1][
        "depth"
    ]  # of ridge only the logs are plots, of lasso only the width
    points["width"] = {0: 1.0}
    points["best"] = {0: made["ridge"][0]["train.rmse"]}
    points |= {"test.rmse": points["best"], "test.size": {0: 20.0}}
    assert set(run.data.metrics) == set(points)
    for key, values in points.items():
        history = client.get_metric_history(run.info.run_id, key)
        assert sorted((point.step, point.value) for point in history) == sorted(values.items()), key

    outs = {
        f"out/{name}" for name in [*OUTS, *(f"{item}/{part}" for item in ITEMS for part in PARTS)]
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        kept = Path(client.download_artifacts(run.info.run_id, "", folder))
        for out in {*outs, "report/best.json"}:
            assert (kept / out).exists(), out
        files = [file for file in kept.rglob("*") if file.is_file()]
        assert (
            len(files) == len(outs) + 1 + 1 + 2 * 2
        )  # two files in clean, three frames for each item
    pictures = {"out/figures/scores.png", "out/ridge/frames", "out/lasso/frames"}
    assert set(hashes_of(run)) == {*outs, "report/best.json"} - pictures


def hashes_of(run):
    """By path, as the tags of a run say them."""
    found = {
        key.removeprefix("dvc.md5."): value
        for key, value in run.data.tags.items()
        if key.startswith("dvc.md5.")
    }
    return dict(sorted(found.items()))


def experiments(project):
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    found = [
        one
        for baseline in shown
        for one in baseline["experiments"] or []
        if baseline["rev"] != "workspace"
    ]
    return {one["name"] for one in found}


def named_experiments(project):
    client = MlflowClient(project.store, project.store)
    number = client.get_experiment_by_name(project.root.name).experiment_id
    return {
        name
        for run in client.search_runs([number])
        for name in run.data.tags.get("dvc.experiments", "").split()
    }


@pytest.mark.slow
def test_with_nothing_said_a_run_shows_the_whole_result(ran):
    (run_id,) = ran.runs()
    assert ran.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert ran.run("git", "status", "--porcelain").stdout == ""
    lock = YAML(typ="safe").load(ran.root / "dvc.lock")["stages"]
    client = MlflowClient(ran.store)
    run = client.get_run(run_id)
    written = {
        os.path.normpath(Path("steps" if name == "clean" else ".", out["path"])): out["md5"]
        for name, stage in lock.items()
        for out in stage["outs"]
    }
    tags = run.data.tags
    assert {
        path: hash for path, hash in hashes_of(run).items() if "report" not in path
    }.items() <= written.items()
    inputs = {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs}
    assert inputs == {
        Path(dep["path"]).stem: dep["md5"] for dep in lock["clean"]["deps"] if "raw" in dep["path"]
    }
    commit = ran.run("git", "rev-parse", "HEAD~1").stdout.strip()
    assert tags["mlflow.source.git.commit"] == commit and tags["git.dirty"] == "false"
    assert run.info.run_name == commit[:7]
    about = tags["mlflow.note.content"]
    assert "| best | 2 |" in about and f"raw/photos ({inputs['photos']})" in about
    assert f"`git checkout {commit[:7]}`, then `dvc checkout` or `dvc repro`" in about

    # The stage that is printed: every output of all stages, where it lies, and every file of parameters.
    printed = YAML(typ="safe").load(ran.bridge("--stage").stdout)["track"]
    outs = {
        f"out/{name}" for name in [*OUTS, *(f"{item}/{part}" for item in ITEMS for part in PARTS)]
    }
    params = {"params.yaml", "conf/model.toml", "report/params.yaml"}
    assert set(printed["deps"]) == {*outs, *params, "report/best.json"}
    assert printed["cmd"] == "python bridge" and printed["outs"] == [
        {"mlruns/receipt.json": {"cache": False}}
    ]


@pytest.mark.slow
def test_what_users_do_gives_one_run_for_each_result(ran, tmp_path):
    project = copied(
        ran, tmp_path
    )  # moved, too: an absolute path of the old place would be found nowhere
    first = project.runs() if "was there" in project.bridge().stdout else None
    lock = (project.root / "dvc.lock").read_bytes()
    assert first and "Running" not in project.run("dvc", "repro").stdout
    assert "Running stage 'track'" in project.run("dvc", "repro", "--force").stdout
    assert project.runs() == first and (project.root / "dvc.lock").read_bytes() == lock

    project.set("keep", 4)
    project.run("dvc", "repro")
    second = project.runs()
    assert len(second) == 2
    project.set("keep", 3)
    project.run("dvc", "repro")
    assert project.runs() == second and (project.root / "dvc.lock").read_bytes() == lock

    data = project.root / "raw/stations.csv"
    data.write_text(data.read_text() + "6,36\n")
    project.run("dvc", "repro")
    (new,) = project.runs() - second
    assert MlflowClient(project.store).get_run(new).data.tags["git.dirty"] == "true"
    second |= {new}

    for name in ("one", "two"):
        project.run("dvc", "exp", "run", "--name", name, "--set-param", "fit.epochs=6")
    third = project.runs()
    assert len(third) == 4 and named_experiments(project) == {"one"}  # the second time nothing ran
    project.bridge(DVC_EXP_NAME="two")
    assert project.runs() == third and named_experiments(project) == {"one", "two"}

    # A picture drawn anew belongs to the run that is there.
    project.set("shade", 9)
    assert re.findall("Running stage '(.*)'", project.run("dvc", "repro").stdout) == [
        "draw",
        "track",
    ]
    assert project.runs() == third
    (new,) = third - second
    picture = MlflowClient(project.store).download_artifacts(
        new, "out/figures/scores.png", str(tmp_path)
    )
    assert Path(picture).read_bytes() == (project.root / "out/figures/scores.png").read_bytes()

    # A parameter that changes no byte is another result all the same: it is known now that it changes nothing.
    project.set("seed", 5)
    assert "Running stage 'track'" in project.run("dvc", "repro").stdout
    client = MlflowClient(project.store)
    assert len(client.search_runs(["1"])) == 5

    # Nothing new takes none of what is slow to import, from whichever folder.
    for folder in (".", "report"):
        done = subprocess.run(
            [
                sys.executable,
                "-X",
                "importtime",
                os.path.relpath(project.root / "bridge", project.root / folder),
            ],
            cwd=project.root / folder,
            env=project.environment,
            capture_output=True,
            text=True,
        )
        assert done.stdout.count("was there") == 1
        imported = {
            line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
        }
        assert "bridge" in imported and not imported & {"mlflow", "dvc", "numpy", "sqlalchemy"}

    for file in project.root.glob("mlflow.db*"):
        file.unlink()
    assert project.bridge().stdout.count("published") == 1
    rebuilt = MlflowClient(
        f"sqlite:///{project.root}/./mlflow.db"
    )  # MLflow, here, still has the old file open
    assert len(rebuilt.search_runs(["1"])) == 1


@pytest.mark.slow
def test_experiments_in_other_folders_and_in_a_queue_share_the_store_that_none_has_made_yet(
    new, tmp_path
):
    project = copied(new, tmp_path)
    project.run(
        "dvc", "repro", "clean"
    )  # DVC fails now and then if workers put one stage into its cache at once
    project.run("dvc", "exp", "run", "--queue", "--set-param", "fit.epochs=2,3,4")
    project.run("dvc", "exp", "run", "--run-all", "--jobs", "3")
    project.run("dvc", "exp", "run", "--temp", "--set-param", "fit.epochs=3")
    project.run("dvc", "exp", "run", "--temp", "--name", "apart", "--set-param", "clean.keep=2")
    assert len(project.runs()) == 4
    assert named_experiments(project) == experiments(project) and len(experiments(project)) == 5


# Kills the bridge, and DVC with it, when it is about to write to a file, to rename one or to open a database.
KILLING = """\
import os, signal, sys

moments = 0


def moment(name, arguments):
    global moments
    writes = name == "open" and set("wax+") & set(str(arguments[1])) and os.environ["HERE"] in str(arguments[0])
    if writes or name in ("os.rename", "sqlite3.connect"):
        moments += 1
        if moments == int(os.environ["KILL"]):
            os.killpg(0, signal.SIGKILL)
        with open(os.environ["MOMENTS"], "w") as file:
            file.write(str(moments))


if "bridge" in sys.orig_argv[1:2]:
    sys.addaudithook(moment)
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again(ran, tmp_path):
    patch, count = tmp_path / "patch", tmp_path / "moments"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(KILLING)

    def killed(folder, kill):
        project = copied(ran, folder)
        shutil.rmtree(project.root / "mlruns")
        (project.root / "mlflow.db").unlink()
        here = {
            "PYTHONPATH": str(patch),
            "HERE": str(project.root),
            "MOMENTS": str(count),
            "KILL": str(kill),
        }
        environment = {**project.environment, **here}
        done = subprocess.run(
            ["dvc", "repro"],
            cwd=project.root,
            env=environment,
            capture_output=True,
            start_new_session=True,
        )
        return project, done.returncode

    _, status = killed(tmp_path / "whole", 0)
    moments = int(count.read_text())
    assert status == 0 and moments > 30
    for number in range(5):
        project, status = killed(tmp_path / str(number), 2 + (moments - 3) * number // 4)
        assert status == -signal.SIGKILL
        assert "Running stage 'track'" in project.run("dvc", "repro").stdout
        assert len(project.runs()) == 1


@pytest.mark.slow
def test_what_is_not_the_result_of_the_stages_is_refused_in_one_sentence(ran, tmp_path):
    project = copied(ran, tmp_path)
    before = project.runs()

    def refused(**environment):
        done = project.bridge(check=False, **environment)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    project.set("rate", 0.2)
    told = "error: params.yaml: fit.rate is 0.2, but the results were made with 0.1: run dvc repro"
    assert refused().startswith(told)
    (project.root / "mlflow.db").rename(project.root / "kept.db")
    assert refused().startswith(told)
    project.set("rate", "1e-1")  # the same number

    weights = project.root / "out/ridge/weights.txt"
    good = weights.read_text()
    weights.unlink()
    assert refused().startswith(
        "error: out/ridge/weights.txt is not what its stage wrote (dvc.lock): run dvc repro."
    )
    weights.write_text("0.0\n")
    assert refused().startswith(
        "error: out/ridge/weights.txt is not what its stage wrote (dvc.lock): run dvc repro."
    )
    weights.write_text(good)
    more = project.root / "out/clean/more.csv"
    more.write_text("")
    assert refused().startswith(
        "error: out/clean is not what its stage wrote (dvc.lock): run dvc repro."
    )
    more.unlink()

    lock = project.root / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(re.sub(r"  draw:\n(   .*\n)+", "", whole))
    told = "error: stage draw has not run, so there is no result to publish: run dvc repro first\n"
    assert refused() == told
    for content in (b"{", b"stages: {clean: [1]}", b"stages: {clean: {outs: [a]}}", b"\xff\xfe"):
        lock.write_bytes(content)
        assert refused().startswith("error: cannot use dvc.lock")
    lock.write_text(whole)
    assert not (project.root / "mlflow.db").exists()

    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = refused(MLFLOW_TRACKING_URI=address)
    assert told.startswith(f"error: cannot publish to {address}: ")
    assert told.endswith("\nNothing that was computed is lost; python bridge publishes it.\n")

    (project.root / "kept.db").rename(project.root / "mlflow.db")
    assert project.bridge().stdout.count("was there") == 1 and project.runs() == before
    (project.root / "mlflow.db").unlink()
    (project.root / ".dvcignore").write_text(
        ".DS_Store\n"
    )  # what a file manager leaves, and DVC does not count
    for folder in ("out/clean", "out/ridge/frames"):
        (project.root / folder / ".DS_Store").touch()
    done = project.bridge(PATH=str(Path(sys.executable).parent))  # no git
    assert done.stdout.count("published") == 1 and done.stderr == ""
    (run,) = MlflowClient(f"sqlite:///{project.root}/./mlflow.db").search_runs(["1"])
    assert run.data.tags["git.dirty"] == "unknown" and run.info.run_name.startswith("no-git-")

    project.set("keep", 5)
    project.run("dvc", "repro", "clean")  # and nothing of what is made from a file in its folder
    assert (
        refused()
        == "error: out/clean/table.csv is newer than what was made from it: run dvc repro\n"
    )


@pytest.mark.slow
def test_a_few_lines_make_several_runs_with_names_images_a_model_and_a_champion(ran, tmp_path):
    project = copied(ran, tmp_path)
    (project.root / "serving").mkdir()
    (project.root / "serving/model.py").write_text(LOADER)
    (project.root / "mlflow.yaml").write_text(SETTINGS.replace("metric: score", "metric: scores"))
    refused = project.bridge(check=False)
    assert (
        refused.returncode == 1
        and "champion.metric is scores, but the metrics are" in refused.stderr
    )
    assert len(project.runs()) == 1  # that of the first `dvc repro`: none was begun
    (project.root / "mlflow.yaml").write_text(SETTINGS)
    pipeline = project.root / "dvc.yaml"
    pasted = re.search(r"stages:\n(  track:\n(?:    .*\n)+)", pipeline.read_text())[1]
    printed = project.bridge("--stage").stdout
    assert "      - mlflow.yaml\n" in printed
    pipeline.write_text(pipeline.read_text().replace(pasted, printed))
    project.run("dvc", "repro")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    project.commit("runs")

    client = MlflowClient(project.store, project.store)

    def runs():
        number = client.get_experiment_by_name("weather").experiment_id
        found = client.search_runs(
            [number], "tags.bridge.complete = 'true' and params.model LIKE '%'"
        )
        return {(run.data.params["model"], int(run.data.params["data.keep"])): run for run in found}

    assert set(runs()) == {("ridge", 3), ("lasso", 3)}
    for (item, keep), run in runs().items():
        numbers, curves = expected({**run.data.params, "keep": keep})[item]
        final = {
            "rmse": numbers["train.rmse"],
            "error.max": numbers["train.error.max"],
            "score": numbers["score"],
        }
        assert final.items() <= run.data.metrics.items()
        history = client.get_metric_history(run.info.run_id, "speed")
        assert {point.step: point.value for point in history} == curves["history.tsv.speed"]
        assert run.data.params["data.fill"] == "mean" and "loss" not in run.data.metrics
        assert item in run.info.run_name
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            kept = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
            mlflow.set_tracking_uri(project.store)
            (output,) = run.outputs.model_outputs
            model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        images = sorted(
            file.name.split("+timestamp")[0] for file in (kept / "images").glob("*.png")
        )
        assert images == sorted(
            [*(f"frames by step+step+{step}" for step in (0, 50, 100)), "last frame+step+0"]
        )
        assert [file.name for file in (kept / "out" / item).iterdir()] == ["weights.txt"]
        shutil.rmtree(kept / "images")
        np.testing.assert_allclose(
            model.predict(np.array([[1.0, 2.0]])), 3 * numbers["train.rmse"], rtol=1e-12
        )

    def champions():
        """By alias, the item, and the rows and epochs that it was made with."""
        aliases = client.get_registered_model("weather").aliases
        versions = {
            alias: client.get_model_version("weather", number) for alias, number in aliases.items()
        }
        found = {
            alias: client.get_run(version.run_id).data.params for alias, version in versions.items()
        }
        return {
            alias: (of["model"], of["data.keep"], of["fit.epochs"]) for alias, of in found.items()
        }

    (own,) = set(champions()) - {"champion"}
    assert champions() == {"champion": ("ridge", "3", "5"), own: ("ridge", "3", "5")}
    # Better numbers on other data leave the champion alone; once these data are committed, it moves to them.
    for key, value, epochs in (("keep", 2, "5"), ("epochs", 9, "9")):
        project.set(key, value)
        project.run("dvc", "repro")
        (other,) = set(champions()) - {"champion", own}
        first = ("ridge", "3", "5")
        assert champions() == {"champion": first, own: first, other: ("ridge", "2", epochs)}
    project.commit("two rows")
    project.set("epochs", 8)  # not as good as nine
    project.run("dvc", "repro")
    best = {"champion": ("ridge", "2", "9"), own: ("ridge", "3", "5"), other: ("ridge", "2", "9")}
    assert champions() == best
    # A training that came to nothing is the best of none, not even the first on its data: none would be above it.
    for key, value in (("keep", 1), ("rate", "NaN")):
        project.set(key, value)
    project.run("dvc", "repro")
    assert champions() == best
    project.set("rate", 0.1)
    project.run("dvc", "repro")
    (last,) = champions().keys() - best
    assert champions() == {**best, last: ("ridge", "1", "8")}


@pytest.mark.slow
def test_the_page_about_the_bridge_does_what_it_says(tmp_path):
    project = Strange(tmp_path / "fit", tmp_path / "site")
    project.root.mkdir()
    (tmp_path / "spirals").symlink_to(ROOT)
    page = (ROOT / "docs/bridge.md").read_text()
    for name, text in re.findall(r"^`([\w.]+)`, .*:\n\n```\w+\n([^`]*)```", page, re.MULTILINE):
        (project.root / name).write_text(text)
    printed = re.search(r"--stage\n((?:  .*\n)+)```", page)[1]
    identity = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Test")
    identity |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "test@example.com")
    commands = re.findall(r"^\$ (.*)", page, re.MULTILINE)
    assert commands[-1] == "mlflow ui"
    for command in commands[2:-1]:  # not those that make an environment
        done = project.run("sh", "-c", command, **identity)
        if command == "python bridge --stage":
            assert done.stdout == printed
    client = MlflowClient(project.store)
    runs = client.search_runs([client.get_experiment_by_name("fit").experiment_id])
    assert {run.data.params["fit.rate"] for run in runs} == {"0.1", "0.5"}
    for run in runs:
        assert run.data.tags["bridge.complete"] == "true" and set(run.data.metrics) == {
            "final.loss",
            "loss",
        }
        assert len(client.get_metric_history(run.info.run_id, "loss")) == 20


@pytest.mark.slow
def test_what_dvc_says_of_a_pipeline(ran):
    """Pins DVC's index, which is no documented interface; asked from another folder, as a stage in one does."""
    code = "import json, pathlib, bridge.stages; print(json.dumps(bridge.stages._ask_dvc(pathlib.Path(PLACE))))"
    asked = json.loads(
        subprocess.run(
            [sys.executable, "-c", code.replace("PLACE", repr(str(ran.root)))],
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
        "deps": ["steps/step.py", "raw/stations.csv", "raw/photos", "params.yaml"],
        "outs": ["out/clean"],
        "params": ["params.yaml"],
        "after": [],
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
    assert sorted(asked["curves"]) == sorted(tables)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[a]", "the whole is ['a'], but must be keys and values"),
        (
            "run: [fit]",
            "run is not a setting; the settings are experiment, runs, params, names, curves, images,",
        ),
        ("runs: fit", "runs is 'fit', but must be a list"),
        ("runs: [3]", "runs.0 is 3, but must be text"),
        ("curves: {a.csv: loss}", "curves.a.csv is 'loss', but must be a list"),
        ("max_bytes: 1 MB", "max_bytes is '1 MB', but must be a whole number"),
        (
            "model: {loader: serve}",
            "model.file is missing; the settings are loader, file, code, config,",
        ),
        ("champion: {metric: score, on: []}", "champion needs a model: it is the alias of one"),
        ("runs: [evaluate]", "runs: no stage upstream is called evaluate"),
        ("images: {frames: out/frames}", "out/frames is not a file of a stage upstream"),
        (
            "{runs: [fit], images: {scores: out/figures/scores.png}}",
            "out/figures/scores.png is not a file of a stage",
        ),
        (
            "model: {loader: serve, file: weights.txt}",
            "weights.txt is not a file of a stage upstream",
        ),
        (
            "model: {loader: a, file: out/ridge/weights.txt, code: [serving]}",
            "model.code: serving is not a folder",
        ),
        ("data: [raw/other.csv]", "raw/other.csv is not a file of a stage upstream"),
        ("names: {clean.: fit.}", None),
        (
            "names: {clean.keep: x, clean.fill: x}",
            "names: clean.fill of params.yaml and clean.keep of params.yaml",
        ),
        (
            "curves: {out/ridge/history.tsv: [gain]}",
            "curves: out/ridge/history.tsv has no numbers gain by growing",
        ),
        (
            "images: {all: out/clean}",
            "images: dropped.csv in out/clean is not named after its step",
        ),
        ("a: b: c", "cannot use mlflow.yaml: mapping values are not allowed in this context"),
    ],
)
def test_mlflow_yaml_that_cannot_be_used_is_told_plainly(ran, tmp_path, text, told):
    (tmp_path / "mlflow.yaml").write_text(text + "\n")

    def all_read():
        for result in load_results(Pipeline(ran.root), load_settings(tmp_path), ran.root):
            result.numbers()
            list(result.images())

    if told is None:
        all_read()
        return
    with pytest.raises(UserError) as error:
        all_read()
    assert told in str(error.value) and str(error.value).count("mlflow.yaml") == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "x,größe\n1,2\n".encode("latin-1"), "can't decode"),
        ("a.csv", b"x,y\n1," + b"2" * 200_000 + b"\n", "field larger than"),
        ("a.json", b"[" * 100_000, "recursion"),
        ("a.toml", b"x = ", "Invalid value"),
        ("a.yaml", b"x: [", "while parsing"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"^cannot use {name}: .*{reason}"):
        read(tmp_path / name)


def test_no_stages_no_result():
    with pytest.raises(UserError, match="no stages"):
        load_results(SimpleNamespace(upstream=[]), {"runs": []}, None)


def test_names_have_their_file_in_front_only_where_it_is_needed():
    keys = [
        ("a.json", "loss"),
        ("b.json", "loss"),
        ("a.json", "x.y"),
        ("c.json", ""),
        ("a.json", "size (mm)"),
    ]
    assert [*named(keys, {}).values()] == [
        "a.json.loss",
        "b.json.loss",
        "x.y",
        "c.json",
        "size _mm_",
    ]
    assert named([("a", "x.y"), ("a", "z")], {"x.": "", "z": "w"}) == {
        ("a", "x.y"): "y",
        ("a", "z"): "w",
    }


@pytest.mark.parametrize(
    ("x", "y", "points"),
    [
        (["0", "10"], ["1.5", "2"], {0: 1.5, 10: 2.0}),
        ([0, 1, 2], [None, "", 3], {2: 3.0}),
        ([0, 1, 0], [1, 2, 3], None),  # of two trainings, or of a confusion matrix
        ([1, 0], [1, 2], None),
        ([0, 0.5, 1], [0, 0.7, 1], None),  # a ROC curve
        (["rain", "sun"], [1, 2], None),
        ([0, 1], ["rain", "sun"], None),
        ([0, 1], [1, 10**400], None),
    ],
)
def test_a_curve_has_whole_steps_that_grow(x, y, points):
    rows = [{"x": one, "y": other} for one, other in zip(x, y, strict=True)]
    assert points_of(rows, "x", "y") == points and points_of(rows, "x", "z") is None


def test_tables_and_pictures_by_their_files(tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    (tmp_path / "rows.tsv").write_text("\ufeffx\ty\r\n1\t2\r\n", "utf-8")  # as Excel writes it
    (tmp_path / "rows.json").write_text('{"about": "rows", "rows": [{"x": 1, "y": 2}]}')
    (tmp_path / "rows.yaml").write_text("- {x: 1, y: 2}\n")
    for suffix in ("csv", "tsv", "json", "yaml"):
        (row,) = read_table(tmp_path / f"rows.{suffix}")
        assert {key: float(value) for key, value in row.items()} == {"x": 1, "y": 2}
    (tmp_path / "quoted.csv").write_text('x,"y\nz"\n1,2\n')
    assert read_table(tmp_path / "quoted.csv") == [{"x": "1", "y\nz": "2"}]
    (tmp_path / "number.json").write_text("3")
    assert read_table(tmp_path / "number.json") == read_table(tmp_path / "weights.bin") == []
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "d": [1]}

    assert (
        not is_picture(tmp_path)
        and not is_picture(tmp_path / "rows.csv")
        and is_picture(tmp_path / "a.PNG")
    )
    for name, whole in [("a.png", True), ("more/b.jpg", True), ("0.txt", False)]:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).touch()
        assert is_picture(tmp_path / "folder") == whole
    (tmp_path / "empty").mkdir()
    assert not is_picture(tmp_path / "empty")
