"""Where the runs go: what MLflow's own variables say, and what is told where they say what cannot be."""

import json
import re
import shutil

import pytest
from conftest import copied
from mlflow import MlflowClient
from runs import all_complete, free_port

from bridge.errors import UserError
from bridge.store import FOLDER, configured_store

MISSING = "0123456789abcdef" * 2  # the id of no run


@pytest.mark.parametrize(
    ("given", "uri", "file"),
    [
        ("", "sqlite:///{main}/mlflow.db", "mlflow.db"),
        ("sqlite:///q.db?timeout=60", "sqlite:///{main}/q.db?timeout=60", "q.db"),
        ("sqlite:////tmp/q.db?timeout=60&x=y", "sqlite:////tmp/q.db?timeout=60&x=y", "/tmp/q.db"),
        ("SQLite:///below/Q.db", "sqlite:///{main}/below/Q.db", "below/Q.db"),
        (" sqlite:///q.db\n", "sqlite:///{main}/q.db", "q.db"),
        ("sqlite+pysqlite:///q.db", "sqlite+pysqlite:///{main}/q.db", "q.db"),
        ("HTTP://Mlflow.example:5000", "http://Mlflow.example:5000", None),
        (" https://mlflow.example/below/", "https://mlflow.example/below/", None),
        ("postgresql://user:s3cret@db.example/runs?sslmode=require", None, None),
    ],
)
@pytest.mark.parametrize("below", ["", ".dvc/tmp/exps/one"])
def test_a_store_is_where_the_variable_says_and_below_the_main_checkout(
    given, uri, file, below, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    store = configured_store(tmp_path / below, "spirals")
    assert store.uri == (uri or given).replace("{main}", str(tmp_path))
    assert store.file == (file and tmp_path / file)
    assert store.folder == (store.file.parent if file else tmp_path) / "mlruns"
    assert store.is_remote == ("http" in given.lower())
    assert "s3cret" not in store.redacted_uri + store.server
    assert store.server == (store.uri.rstrip("/") if store.is_remote else "http://127.0.0.1:5000")


@pytest.mark.parametrize(
    "given", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory"]
)
def test_a_database_without_a_file_is_refused(given, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    with pytest.raises(
        UserError,
        match=rf"^MLFLOW_TRACKING_URI is {re.escape(given)}, but must name a file that stays",
    ):
        configured_store(tmp_path, "spirals")


def test_a_database_that_is_a_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "q.db").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///q.db?timeout=60")
    with pytest.raises(
        UserError, match=r"q\.db\?timeout=60, which is a folder, but must be a file$"
    ):
        configured_store(tmp_path, "spirals")


@pytest.mark.parametrize(
    "given", ["databricks-uc", "uc:http://user:s3cret@there", "file:///tmp/registry", "./registry"]
)
def test_a_registry_of_another_kind_is_refused(given, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", given)
    with pytest.raises(
        UserError, match="^MLFLOW_REGISTRY_URI is .*: unset it, or name one of http, https, "
    ) as refused:
        configured_store(tmp_path, "spirals")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("number", "name", "found"),
    [
        ("", "", ("spirals", None)),
        ("7", "", ("", "7")),
        ("7", "x", ("x", "7")),
        ("", "x", ("x", None)),
    ],
)
def test_an_experiment_by_name_or_number(number, name, found, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    store = configured_store(tmp_path, "spirals")
    assert (store.experiment, store.number) == found


@pytest.fixture(scope="module")
def project(ran_template, tmp_path_factory):
    """A checkout in which all stages have run."""
    return copied(ran_template, tmp_path_factory.mktemp("project"))


def told(project, **environment):
    """What the bridge says when it refuses."""
    done = project.run("python", "src/bridge", check=False, **environment)
    assert (done.returncode, done.stdout) == (1, "") and "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_database_with_a_query_is_used_and_its_receipt_stays(project, tmp_path):
    query = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/q.db?timeout=60"}
    for state in ("published", "was there"):
        assert project.run("python", "src/bridge", **query).stdout.count(state) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"q.db", "mlruns"}
    assert len(all_complete(f"sqlite:///{tmp_path}/q.db")) == 2

    # As `make` does before `dvc repro`: the receipt of a store that is there stays, that of another goes.
    receipt = project.root / "mlruns/receipt.json"
    project.run("python", "tools/verify.py", **query)
    project.run("python", "tools/verify.py", MLFLOW_TRACKING_URI="sqlite:///mlflow.db?timeout=60")
    assert json.loads(receipt.read_text()).keys() == {"linear", "mlp"}
    project.run("python", "tools/verify.py", MLFLOW_TRACKING_URI="sqlite:///other.db?timeout=60")
    assert not receipt.exists()


@pytest.mark.slow
@pytest.mark.parametrize("served", [False, True])
def test_the_experiment_that_a_number_says(served, project, server, tmp_path):
    address, _ = server
    uri = address if served else f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri, uri)
    before = {found.name for found in client.search_experiments()}
    where = {} if served else {"artifact_location": str(tmp_path / "kept")}
    ours, deleted = (client.create_experiment(name, **where) for name in ("ours", "deleted"))
    client.delete_experiment(deleted)
    store = {"MLFLOW_TRACKING_URI": uri}
    other = {**store, "MLFLOW_EXPERIMENT_ID": ours, "MLFLOW_EXPERIMENT_NAME": "other"}
    contradiction = f"error: MLFLOW_EXPERIMENT_ID {ours} is the experiment ours, and not other as MLFLOW_EXPERIMENT_NAME"
    assert told(project, **other).startswith(contradiction)

    # The run of MLFLOW_RUN_ID is none of ours, and is left alone.
    done = project.run(
        "python", "src/bridge", **store, MLFLOW_EXPERIMENT_ID=ours, MLFLOW_RUN_ID=MISSING
    )
    assert done.stdout.count("published") == 2 and f"/#/experiments/{ours}/runs" in done.stdout
    done = project.run("python", "src/bridge", **{**other, "MLFLOW_EXPERIMENT_NAME": "ours"})
    assert done.stdout.count("was there") == 2
    assert len(all_complete(uri, "ours")) == 2
    assert told(project, **other).startswith(contradiction)  # now, too
    assert {found.name for found in client.search_experiments()} == before | {"ours"}

    for number, reason in [
        (
            deleted,
            "error: the experiment deleted was deleted in MLflow: restore it, or set MLFLOW_EXPERIMENT_NAME\n",
        ),
        (
            "77",
            f"error: cannot publish to {uri}: .*\\b77\\b.*\nNothing that was computed is lost; .*\n",
        ),
        (
            "seven",
            f"error: cannot publish to {uri}: .*seven.*\nNothing that was computed is lost; .*\n",
        ),
    ]:
        assert re.fullmatch(reason, told(project, **store, MLFLOW_EXPERIMENT_ID=number))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [lambda address: address.replace("http", "HTTP"), lambda address: f" {address}/"]
)
def test_a_servers_address_in_any_form_is_a_servers(change, project, server):
    address, folder = server
    kept, name = folder / "kept", f"in another form {change('http')[0]}"
    before = {*kept.rglob("loss.png")}
    done = project.run(
        "python", "src/bridge", MLFLOW_TRACKING_URI=change(address), MLFLOW_EXPERIMENT_NAME=name
    )
    assert done.stdout.count(f" {address}/#/experiments/") == 3
    experiment = MlflowClient(address, address).get_experiment_by_name(name)
    assert (
        experiment.artifact_location.startswith("mlflow-artifacts:/")
        and FOLDER not in experiment.tags
    )
    assert len({*kept.rglob("loss.png")} - before) == 2


@pytest.mark.slow
def test_a_registry_apart_that_is_there_or_not(project, tmp_path):
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    refused = told(
        project, **store, MLFLOW_REGISTRY_URI=f"http://user:s3cret@127.0.0.1:{free_port()}"
    )
    assert (
        refused.startswith(f"error: cannot publish to {store['MLFLOW_TRACKING_URI']}: ")
        and "s3cret" not in refused
    )
    registry = f"sqlite:///{tmp_path}/registry.db"
    assert (
        project.run("python", "src/bridge", **store, MLFLOW_REGISTRY_URI=registry).stdout.count(
            "published"
        )
        == 2
    )
    champion = MlflowClient(registry, registry).get_model_version_by_alias("spirals", "champion")
    runs = MlflowClient(store["MLFLOW_TRACKING_URI"], registry).search_runs(["1"])
    assert champion.run_id in {
        run.info.run_id for run in runs if "bridge.complete" in run.data.tags
    }
    assert len(runs) == 2


@pytest.mark.slow
def test_where_git_does_not_answer_nothing_is_said_to_be_clean(ran):
    ran.set_params({"plot.dpi": 70})
    ran.run("dvc", "repro", "plot")
    other = {"MLFLOW_TRACKING_URI": "sqlite:///other.db"}
    done = ran.run("python", "src/bridge", **other, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    note = "note: Git does not say which commit this is: fatal: detected dubious ownership in repository at"
    assert done.stderr.startswith(note) and done.stderr.count("\n") == 1
    for run in all_complete(f"sqlite:///{ran.root}/other.db"):
        assert run.data.tags["git.dirty"] == "unknown"
        assert "mlflow.source.git.commit" not in run.data.tags
        model, origin = run.info.run_name.split()
        assert model == run.data.params["model"] and re.fullmatch("no-git-[0-9a-f]{4}", origin)

    # An archive of it has no Git at all: that is no refusal.
    shutil.rmtree(ran.root / ".git")
    ran.run("dvc", "config", "--local", "core.no_scm", "true")
    done = ran.run("python", "src/bridge", MLFLOW_TRACKING_URI="sqlite:///third.db")
    assert done.stderr == ""
    runs = all_complete(f"sqlite:///{ran.root}/third.db")
    assert [run.data.tags["git.dirty"] for run in runs] == ["unknown"] * 2
