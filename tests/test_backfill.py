"""Publishing what was there before: the results of DVC experiments and of commits."""

import re
import shutil

import pytest
from conftest import ROOT, Checkout
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

FIT = """\
import json, re

rate = float(re.search("rate: (.*)", open("params.yaml").read())[1])
open("weights.txt", "w").write(str(rate))
json.dump({"loss": 1 / rate}, open("metrics.json", "w"))
"""
STAGES = """\
stages:
  fit:
    cmd: python fit.py
    deps: [fit.py]
    params: [rate]
    outs: [weights.txt]
    metrics: [metrics.json: {cache: false}]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that knows nothing of MLflow: three commits, two experiments."""
    folder = tmp_path_factory.mktemp("backfill")
    made = Checkout(folder / "fit", folder / "site")
    made.root.mkdir()
    (made.root / "fit.py").write_text(FIT)
    (made.root / "dvc.yaml").write_text(STAGES)
    (made.root / "params.yaml").write_text("rate: 1\n")
    made.run("git", "init", "--quiet")
    made.run("git", "config", "user.name", "Test")
    made.run("git", "config", "user.email", "test@example.com")
    made.run("dvc", "init", "--quiet")
    for rate in (1, 2):
        (made.root / "params.yaml").write_text(f"rate: {rate}\n")
        made.run("dvc", "repro")
        made.commit(f"rate {rate}")
    made.run("dvc", "exp", "run", "--name", "four", "--set-param", "rate=4")
    made.run("git", "checkout", "--quiet", ".")
    made.run("dvc", "exp", "run", "--temp", "--name", "five", "--set-param", "rate=5")
    made.run("dvc", "checkout", "--quiet")
    (made.root / "README.md").write_text("It changes no result.\n")
    made.commit("about")
    return made


@pytest.fixture
def copy(project, tmp_path):
    root = shutil.copytree(project.root, tmp_path / "fit", symlinks=True)
    return Checkout(root, tmp_path / "site")


def backfill(project, *options):
    done = project.run("python", str(ROOT / "src/bridge"), "publish", *options)
    return [line.split()[:3] for line in done.stdout.splitlines()]


def runs_of(project):
    uri = f"sqlite:///{project.root}/mlflow.db"
    client = MlflowClient(uri, uri)
    return client.search_runs([client.get_experiment_by_name("fit").experiment_id])


def state_of(project):
    """Return what Git says of the checkout, and every file with its time."""
    status = project.run("git", "status", "--porcelain", "--ignored").stdout
    names = ["weights.txt", *project.run("git", "ls-files").stdout.split()]
    times = {name: (project.root / name).stat().st_mtime_ns for name in names}
    return times, status


def test_every_experiment_gets_one_run_with_its_name_and_nothing_else_changes(copy):
    times, _ = state_of(copy)
    for state in ("published", "was"):
        lines = backfill(copy, "--experiments")
        assert [line[:2] for line in lines] == [["four", state], ["five", state]]
    found = {run.data.params["rate"]: run for run in runs_of(copy)}
    assert found.keys() == {"4", "5"}
    for name, rate in (("four", "4"), ("five", "5")):
        tags = found[rate].data.tags
        assert (tags["dvc.experiments"], tags["git.dirty"]) == (name, "true")
        assert tags["bridge.complete"] == "true"
        assert found[rate].data.metrics == {"loss": 1 / float(rate)}
    after, status = state_of(copy)
    assert after == times
    new = [line for line in status.splitlines() if line.startswith("??")]
    assert new == ["?? mlflow-bridge/", "?? mlflow.db"]  # init would have Git ignore them
    assert list((copy.root / ".dvc/tmp/exps/bridge").iterdir()) == []


def test_every_commit_gets_a_run_once_for_each_result(copy):
    lines = backfill(copy, "--all-commits")
    assert [line[1] for line in lines] == ["published"] * 4
    assert {run.data.params["rate"] for run in runs_of(copy)} == {"1", "2", "4", "5"}
    commits = copy.run("git", "rev-list", "--reverse", "HEAD").stdout.split()
    for run in runs_of(copy):
        if "dvc.experiments" not in run.data.tags:
            rate = int(run.data.params["rate"])
            assert run.data.tags["mlflow.source.git.commit"] == commits[rate - 1]
            assert run.data.tags["git.dirty"] == "false"


def test_the_run_of_a_commit_is_the_one_that_the_checkout_has(copy):
    copy.run("python", str(ROOT / "src/bridge"))
    lines = backfill(copy, "--all-commits")
    assert [line[1] for line in lines] == ["published", "was", "published", "published"]
    assert len(runs_of(copy)) == 4


def test_what_the_cache_does_not_have_is_left_out_with_one_line(copy):
    lock = copy.run("git", "show", "HEAD~2:dvc.lock").stdout
    md5 = re.search(r"weights.txt\n +hash: md5\n +md5: (\w+)", lock)[1]
    (copy.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    done = copy.run("python", str(ROOT / "src/bridge"), "publish", "--all-commits")
    first = done.stdout.splitlines()[0]
    assert "left out: neither Git nor DVC's cache has weights.txt (dvc fetch" in first
    assert len(runs_of(copy)) == 3


def test_a_result_that_is_published_needs_no_files(copy):
    backfill(copy, "--experiments")
    shutil.rmtree(copy.root / ".dvc/cache/files")
    assert [line[:2] for line in backfill(copy, "--experiments")] == [
        ["four", "was"],
        ["five", "was"],
    ]


def test_a_commit_whose_parameters_were_not_run_is_left_out(copy):
    (copy.root / "params.yaml").write_text("rate: 9\n")
    copy.commit("not run")
    done = copy.run("python", str(ROOT / "src/bridge"), "publish", "--all-commits")
    assert "left out: params.yaml: rate is 9, but the results were made with 2" not in done.stdout
    assert len(runs_of(copy)) == 4  # the commit before has the same dvc.lock


def test_what_a_killed_process_left_is_removed(copy):
    left = copy.root / ".dvc/tmp/exps/bridge/999999999-abc"
    left.mkdir(parents=True)
    backfill(copy, "--experiments")
    assert not left.exists()


def test_without_git_it_says_so(copy):
    shutil.rmtree(copy.root / ".git")
    done = copy.run("python", str(ROOT / "src/bridge"), "publish", "--experiments", check=False)
    assert "error: the project is in no Git repository" in done.stderr
