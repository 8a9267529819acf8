"""Where the runs go: what MLflow's own variables say."""

import pytest

from bridge.errors import UserError
from bridge.store import configured_store, redact_address


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
    assert store.folder == (store.file.parent if file else tmp_path) / "mlflow-bridge"
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
        match=rf"^MLFLOW_TRACKING_URI is {redact_address(given)}, but must name a file that stays",
    ):
        configured_store(tmp_path, "spirals")


def test_a_database_that_is_a_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "q.db").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///q.db?timeout=60")
    with pytest.raises(UserError, match=r"/q\.db, which is a folder, but must be a file$"):
        configured_store(tmp_path, "spirals")


@pytest.mark.parametrize(
    "given", ["databricks-uc", "uc:http://user:s3cret@there", "file:///tmp/registry", "./registry"]
)
def test_a_registry_of_another_kind_is_refused(given, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", given)
    with pytest.raises(
        UserError, match=r"^MLFLOW_REGISTRY_URI is .*: unset it, or name one of http, https, "
    ) as refused:
        configured_store(tmp_path, "spirals")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("experiment_id", "name", "expected"),
    [
        ("", "", ("spirals", None)),
        ("7", "", ("", "7")),
        ("7", "x", ("x", "7")),
        ("", "x", ("x", None)),
    ],
)
def test_an_experiment_by_name_or_id(experiment_id, name, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    store = configured_store(tmp_path, "spirals")
    assert (store.experiment, store.experiment_id) == expected
