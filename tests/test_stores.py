"""Publishing to stores of many kinds, and the message where that cannot be."""

import json
import os
import re
import secrets
import shutil
import subprocess

import pytest
from conftest import copied
from mlflow import MlflowClient
from ports import free_port
from runs import all_complete

from bridge.store import COMPLETE, FOLDER

pytestmark = pytest.mark.slow

OTHER_USER = 65534
MISSING = "0123456789abcdef" * 2  # the ID of no run


@pytest.fixture(scope="module")
def project(ran_template, tmp_path_factory):
    """A checkout in which all stages have run."""
    return copied(ran_template, tmp_path_factory.mktemp("project"))


def publish(project, **environment):
    """Return what the bridge prints when it publishes."""
    return project.run("python", "src/bridge", **environment).stdout


def refusal(project, **environment):
    """Return what the bridge says when it refuses."""
    done = project.run("python", "src/bridge", check=False, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_database_with_a_query_is_used(project, tmp_path):
    query = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/q.db?timeout=60"}
    for state in ("published", "was there"):
        assert publish(project, **query).count(state) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"q.db", "mlflow-bridge"}
    assert len(all_complete(f"sqlite:///{tmp_path}/q.db")) == 2


def test_make_keeps_the_receipt_of_a_store_that_is_there(project, tmp_path):
    query = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/q.db?timeout=60"}
    publish(project, **query)
    receipt = project.root / "mlflow-bridge/receipt.json"
    project.run("python", "tools/verify.py", **query)
    project.run("python", "tools/verify.py", MLFLOW_TRACKING_URI="sqlite:///mlflow.db?timeout=60")
    assert json.loads(receipt.read_text()).keys() == {"linear", "mlp"}


def test_make_removes_the_receipt_of_a_store_that_is_not_there(project, tmp_path):
    publish(project, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/q.db")
    missing = "sqlite:///other.db?timeout=60"
    project.run("python", "tools/verify.py", MLFLOW_TRACKING_URI=missing)
    assert not (project.root / "mlflow-bridge/receipt.json").exists()


class Experiments:
    """A store with two experiments: `ours`, and `deleted`."""

    def __init__(self, uri, **location):
        self.uri = uri
        self.client = MlflowClient(uri, uri)
        self.before = {found.name for found in self.client.search_experiments()}
        suffix = secrets.token_hex(4)
        self.name = f"ours-{suffix}"
        self.ours = self.client.create_experiment(self.name, **location)
        self.deleted = self.client.create_experiment(f"deleted-{suffix}", **location)
        self.client.delete_experiment(self.deleted)

    def variables(self, experiment_id, **more):
        """Return the variables that name an experiment of the store."""
        return {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_EXPERIMENT_ID": experiment_id, **more}


@pytest.fixture(params=["local", "served"])
def experiments(request, empty_store, server, tmp_path):
    """A local store, or one at a server."""
    if request.param == "served":
        return Experiments(server[0])
    folder = empty_store(tmp_path / secrets.token_hex(4))
    location = str(folder / "kept")
    return Experiments(f"sqlite:///{folder}/mlflow.db", artifact_location=location)


def test_an_experiment_that_an_id_names_gets_the_runs(experiments, project):
    variables = experiments.variables(experiments.ours, MLFLOW_RUN_ID=MISSING)
    printed = publish(project, **variables)
    assert printed.count("published") == 2
    assert f"/#/experiments/{experiments.ours}/runs" in printed
    variables["MLFLOW_EXPERIMENT_NAME"] = experiments.name
    assert publish(project, **variables).count("was there") == 2
    assert len(all_complete(experiments.uri, experiments.name)) == 2
    names = {found.name for found in experiments.client.search_experiments()}
    assert names == experiments.before | {experiments.name}


def test_an_id_and_a_name_that_contradict_one_another_are_refused(experiments, project):
    variables = experiments.variables(experiments.ours, MLFLOW_EXPERIMENT_NAME="other")
    message = f"error: MLFLOW_EXPERIMENT_ID {experiments.ours} is the experiment {experiments.name}"
    says = f"{message}, and not other as MLFLOW_EXPERIMENT_NAME says"
    assert refusal(project, **variables).startswith(says)


def test_the_id_of_a_deleted_experiment_is_refused(experiments, project):
    message = "was deleted in MLflow: restore it, or set MLFLOW_EXPERIMENT_NAME\n"
    assert refusal(project, **experiments.variables(experiments.deleted)).endswith(message)


@pytest.mark.parametrize("experiment_id", ["77777", "seven"])
def test_the_id_of_no_experiment_is_refused(experiment_id, experiments, project):
    message = refusal(project, **experiments.variables(experiment_id))
    problem, comfort = message.splitlines()
    assert problem.startswith(f"error: cannot publish to {experiments.uri}: ")
    assert experiment_id in problem
    assert comfort.startswith("Nothing that was computed is lost; ")


@pytest.mark.parametrize("form", ["HTTP", " http/"])
def test_a_servers_address_in_any_form_is_a_servers(form, project, server):
    address, folder = server
    given = address.replace("http", "HTTP") if form == "HTTP" else f" {address}/"
    name = f"in the form {form.strip(' /')}{len(form)}"
    before = {*(folder / "kept").rglob("loss.png")}
    printed = publish(project, MLFLOW_TRACKING_URI=given, MLFLOW_EXPERIMENT_NAME=name)
    assert printed.count(f" {address}/#/experiments/") == 3
    experiment = MlflowClient(address, address).get_experiment_by_name(name)
    assert experiment.artifact_location.startswith("mlflow-artifacts:/")
    assert FOLDER not in experiment.tags
    assert len({*(folder / "kept").rglob("loss.png")} - before) == 2


def test_a_registry_apart_that_is_down_is_named_without_its_secrets(project, empty_store, tmp_path):
    uri = f"sqlite:///{empty_store(tmp_path / 'store')}/mlflow.db"
    registry = f"http://user:s3cret@127.0.0.1:{free_port()}"
    message = refusal(project, MLFLOW_TRACKING_URI=uri, MLFLOW_REGISTRY_URI=registry)
    assert message.startswith(f"error: cannot publish to {uri}: ")
    assert "s3cret" not in message


def test_a_registry_apart_has_the_champion(project, empty_store, tmp_path):
    uri = f"sqlite:///{empty_store(tmp_path / 'store')}/mlflow.db"
    registry = f"sqlite:///{empty_store(tmp_path / 'registry')}/mlflow.db"
    printed = publish(project, MLFLOW_TRACKING_URI=uri, MLFLOW_REGISTRY_URI=registry)
    assert printed.count("published") == 2
    champion = MlflowClient(registry, registry).get_model_version_by_alias("spirals", "champion")
    runs = MlflowClient(uri, registry).search_runs(["1"])
    assert len(runs) == 2
    assert champion.run_id in {run.info.run_id for run in runs if COMPLETE in run.data.tags}


@pytest.fixture
def small_disk(tmp_path):
    """A disk with a few megabytes; call it with the size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("only root can mount a small disk")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


# In kilobytes: nothing has room; the tables have; the artifacts of one run have.
@pytest.mark.parametrize(
    "room",
    [100, *(pytest.param(room, marks=pytest.mark.exhaustive) for room in (1200, 1700))],
)
def test_a_full_disk_is_named_in_a_short_message(room, project, small_disk, monkeypatch):
    monkeypatch.setattr(project, "warm", False)  # MLflow reads its settings when it is imported
    disk = small_disk(f"{room}k")
    message = refusal(project, MLFLOW_TRACKING_URI=f"sqlite:///{disk}/mlflow.db")
    assert len(message.splitlines()) <= 2
    assert "no space" in message.lower() or "disk is full" in message
    assert message.count(str(disk)) >= 1
    assert "SQL" not in message


def test_a_disk_that_is_read_only_is_named_in_a_short_message(
    project, small_disk, database_template
):
    disk = small_disk("8m")
    shutil.copy(database_template, disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    message = refusal(project, MLFLOW_TRACKING_URI=f"sqlite:///{disk}/mlflow.db")
    assert len(message.splitlines()) <= 2
    assert message.startswith(f"error: cannot publish to {disk}/mlflow.db: ")


def test_where_git_does_not_answer_nothing_is_said_to_be_clean(ran):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    for folder in (ran.root, ran.root / ".git"):
        os.chown(folder, OTHER_USER, OTHER_USER)
    done = ran.run("python", "src/bridge", MLFLOW_TRACKING_URI="sqlite:///other.db")
    refused = "fatal: detected dubious ownership in repository at"
    assert done.stderr.startswith(f"note: Git does not say which commit this is: {refused}")
    assert done.stderr.count("\n") == 1
    for run in all_complete(f"sqlite:///{ran.root}/other.db"):
        assert run.data.tags["git.dirty"] == "unknown"
        assert "mlflow.source.git.commit" not in run.data.tags
        model, origin = run.info.run_name.split()
        assert model == run.data.params["model"]
        assert re.fullmatch("no-git-[0-9a-f]{4}", origin)


def test_an_archive_that_has_no_git_is_no_refusal(ran):
    shutil.rmtree(ran.root / ".git")
    ran.run("dvc", "config", "--local", "core.no_scm", "true")
    done = ran.run("python", "src/bridge", MLFLOW_TRACKING_URI="sqlite:///third.db")
    assert done.stderr == ""
    runs = all_complete(f"sqlite:///{ran.root}/third.db")
    assert [run.data.tags["git.dirty"] for run in runs] == ["unknown"] * 2
