"""Publishing to a local store, function by function: what is there, what a user did to it."""

import dataclasses
import os
import secrets
import shutil
import sqlite3
import tempfile
import traceback
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made import CHAMPION, SETTINGS, execute, make_lineage, make_result, store_in

from bridge.database import (
    KNOWN_SCHEMAS,
    complete_runs,
    relocate_artifacts,
)
from bridge.environment import prepare_mlflow
from bridge.errors import UserError
from bridge.files import digest
from bridge.store import alias_of, configured_store, safe_name

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mlflow():
    """MLflow, as the bridge imports it."""
    prepare_mlflow()
    import mlflow

    return mlflow


@pytest.fixture(autouse=True)
def environment(mlflow):
    """MLflow's variables as they were: it sets some itself."""
    before = dict(os.environ)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def tmp_path(tmp_path):
    """A path that no test had before: MLflow keeps what it opened by its path."""
    folder = tmp_path / secrets.token_hex(4)
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def new_database(database_template):
    """The file of a database in which nothing was published."""
    return database_template


@pytest.fixture
def store(tmp_path, new_database):
    """A store of its own, with a database."""
    shutil.copy(new_database, tmp_path)
    return store_in(tmp_path)


@pytest.fixture
def client(store, mlflow):
    return mlflow.MlflowClient(store.uri, store.uri)


def publish_to(store, *results, experiment=None):
    """Publish results; return the first one's run."""
    from bridge.publish import publish

    runs = publish(list(results), make_lineage(store.file.parent, experiment), store)
    return runs[results[0].digest] if results else None


def publish_in(folder, results):
    return publish_to(store_in(folder), *results)


def is_whole(store, result):
    """Return whether the bridge finds, without MLflow, that nothing is to be done."""
    return result.digest in complete_runs(store, [result])


def champion_of(client, alias="champion"):
    """Return the id of the run whose model has the alias."""
    return client.get_model_version_by_alias("weather", alias).run_id


def test_the_schema_of_the_database_is_the_one_that_is_known(store):
    ((version,),) = execute(store, "SELECT version_num FROM alembic_version")
    assert version in KNOWN_SCHEMAS


def test_of_an_unknown_schema_mlflow_is_asked(store, tmp_path):
    result = make_result(tmp_path)
    first = publish_to(store, result)
    assert is_whole(store, result)
    execute(store, "UPDATE alembic_version SET version_num = 'another'")
    assert not is_whole(store, result)
    execute(store, f"UPDATE alembic_version SET version_num = '{KNOWN_SCHEMAS[0]}'")
    assert publish_to(store, result).run_id == first.run_id


def test_a_moved_store_of_an_unknown_schema_is_refused(store, tmp_path):
    publish_to(store, make_result(tmp_path))
    elsewhere = "'/elsewhere/mlflow-bridge'"
    execute(store, f"UPDATE experiment_tags SET value = {elsewhere} WHERE value != ''")
    with pytest.raises(UserError, match="the store was moved here from /elsewhere/mlflow-bridge"):
        publish_to(store, make_result(tmp_path))


# The registered model, and what a user deletes there.


def test_a_result_has_one_complete_run_with_a_champion(store, client, tmp_path):
    result = make_result(tmp_path)
    run = publish_to(store, result)
    assert run.new and is_whole(store, result)
    assert champion_of(client) == champion_of(client, alias_of(digest("a"))) == run.run_id
    assert not publish_to(store, result).new


def delete_registered_model(client):
    client.delete_registered_model("weather")


def delete_version(client):
    client.delete_model_version("weather", "1")


def delete_alias(client):
    client.delete_registered_model_alias("weather", "champion")


def delete_alias_of_data(client):
    client.delete_registered_model_alias("weather", alias_of(digest("a")))


def delete_logged_model(client):
    client.delete_logged_model(logged_model(client).model_id)


def delete_files_of_model(client):
    shutil.rmtree(logged_model(client).artifact_location)


def delete_file_of_model(client):
    Path(logged_model(client).artifact_location, "MLmodel").unlink()


def logged_model(client):
    (experiment,) = client.search_experiments(filter_string="name = 'weather'")
    (model,) = client.search_logged_models([experiment.experiment_id])
    return model


@pytest.mark.parametrize(
    "delete",
    [
        delete_registered_model,
        delete_version,
        delete_alias,
        delete_alias_of_data,
        delete_logged_model,
        delete_files_of_model,
        delete_file_of_model,
    ],
)
def test_a_champion_that_was_deleted_is_noticed_without_mlflow_and_restored(
    delete, store, client, mlflow, tmp_path
):
    result = make_result(tmp_path)
    first = publish_to(store, result)
    delete(client)
    assert not is_whole(store, result)
    second = publish_to(store, result)
    assert (second.run_id, second.new) == (first.run_id, False)
    assert is_whole(store, result)
    model = mlflow.pyfunc.load_model("models:/weather@champion")
    assert model.predict(np.ones((3, 2))).tolist() == [3, 3, 3]
    assert {metric.key for metric in logged_model(client).metrics} == {"score"}


def test_a_run_that_was_deleted_is_published_again_though_it_is_not_the_best(
    store, client, tmp_path
):
    best, other = make_result(tmp_path, "best", 0.9), make_result(tmp_path, "other", 0.8)
    publish_to(store, best)
    first = publish_to(store, other)
    client.delete_run(first.run_id)
    assert not is_whole(store, other)
    second = publish_to(store, other)
    assert second.new and second.run_id != first.run_id
    assert is_whole(store, other)


# Which model is the best.


def test_when_the_best_run_is_deleted_the_next_best_is_the_champion(store, client, tmp_path):
    best, good, bad = (make_result(tmp_path, str(score), score) for score in (0.9, 0.8, 0.5))
    runs = {result.run: publish_to(store, result) for result in (best, good)}
    assert champion_of(client) == runs["0.9"].run_id
    client.delete_run(runs["0.9"].run_id)
    publish_to(store, bad)
    assert champion_of(client) == runs["0.8"].run_id


def test_a_deleted_best_run_is_noticed_where_nothing_is_new(store, client, tmp_path):
    best, good = make_result(tmp_path, "best", 0.9), make_result(tmp_path, "good", 0.8)
    first, second = publish_to(store, best), publish_to(store, good)
    client.delete_run(first.run_id)
    assert not is_whole(store, good)
    publish_to(store, good)
    assert champion_of(client) == second.run_id and is_whole(store, good)


def test_a_champion_on_other_data_that_was_deleted_is_noticed(store, client, tmp_path):
    first, second = make_result(tmp_path, "first"), make_result(tmp_path, "second", data="b")
    run, other = publish_to(store, first), publish_to(store, second)
    assert champion_of(client) == run.run_id
    client.delete_run(run.run_id)
    assert not is_whole(store, second)
    publish_to(store, second)
    assert champion_of(client) == other.run_id and is_whole(store, second)
    assert {*client.get_registered_model("weather").aliases} == {
        "champion",
        alias_of(digest("b")),
    }


def test_a_better_model_whose_files_are_gone_is_not_the_champion(store, client, tmp_path):
    publish_to(store, make_result(tmp_path, "best", 0.9))
    delete_files_of_model(client)
    good = make_result(tmp_path, "good", 0.8)
    run = publish_to(store, good)
    assert champion_of(client) == run.run_id and is_whole(store, good)


def test_a_run_that_is_not_complete_is_not_the_champion(store, client, tmp_path):
    first = publish_to(store, make_result(tmp_path, "best", 0.9))
    client.delete_tag(first.run_id, "bridge.complete")
    second = publish_to(store, make_result(tmp_path, "good", 0.8))
    assert champion_of(client) == second.run_id


@pytest.mark.parametrize("order", [(0.5, float("nan")), (float("nan"), 0.5)])
def test_no_number_is_never_the_champion(order, store, client, tmp_path):
    runs = {}
    for score in order:
        runs[str(score)] = publish_to(store, make_result(tmp_path, str(score), score))
    assert champion_of(client) == runs["0.5"].run_id
    assert is_whole(store, make_result(tmp_path, "nan", float("nan")))


def test_of_equal_models_the_first_stays_the_champion(store, client, tmp_path):
    first = publish_to(store, make_result(tmp_path, "first"))
    publish_to(store, make_result(tmp_path, "second"))
    assert champion_of(client) == first.run_id


# Names.


def test_experiments_with_similar_names_have_models_of_their_own(new_database, mlflow, tmp_path):
    shutil.copy(new_database, tmp_path)
    names = ["a b", "a/b", "a-b", "a:b", "A-b"]
    for name in names:
        publish_to(store_in(tmp_path, name), make_result(tmp_path))
    uri = store_in(tmp_path).uri
    client = mlflow.MlflowClient(uri, uri)
    registered = [safe_name(name) for name in names]
    assert len({*registered}) == len(names) and safe_name("a-b") == "a-b"
    for name in names:
        experiment = client.get_experiment_by_name(name)
        version = client.get_model_version_by_alias(safe_name(name), "champion")
        assert client.get_run(version.run_id).info.experiment_id == experiment.experiment_id
    folders = {path.name for path in (tmp_path / "mlflow-bridge").iterdir()}
    assert len({name for name in folders if name[0] != "."}) == 5


@pytest.mark.parametrize("name", ["spirals", "my.project-2", "a_b"])
def test_a_plain_name_is_that_of_the_registered_model(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["x" * 300, "..", ".hidden", "日本", "a%20b", "~", " "])
def test_any_name_is_a_file_name_and_the_name_of_a_model(name, store, client, tmp_path):
    publish_to(store_in(tmp_path, name), make_result(tmp_path))
    assert client.get_model_version_by_alias(safe_name(name), "champion")
    assert (tmp_path / "mlflow-bridge" / safe_name(name)).parent == tmp_path / "mlflow-bridge"


def test_long_names_that_differ_at_their_end_stay_apart(store, client, tmp_path):
    params = {f"{'x' * 260}{end}": end for end in "ab"}
    run = publish_to(store, make_result(tmp_path, **params))
    shown = client.get_run(run.run_id).data.params
    assert {value for key, value in shown.items() if key.startswith("xxx")} == {"a", "b"}


# Where the checkout lies.

ODD = ["100%", "quest?ion", "ha#sh", "both'\"quotes", "a;b&c=d", "line\nend", "b\\s"]


@pytest.mark.parametrize("name", ODD)
def test_a_checkout_with_odd_characters_in_its_path(name, mlflow, tmp_path):
    checkout = tmp_path / name
    checkout.mkdir()

    def publish_and_load():
        store = store_in(checkout)
        result = make_result(tmp_path)
        publish_to(store, result)
        os.chdir(checkout)
        assert mlflow.MlflowClient(store.uri).list_artifacts(
            complete_runs(store, [result])[result.digest].run_id
        )
        model = mlflow.pyfunc.load_model("models:/weather@champion")
        assert model.predict(np.ones((1, 2))).tolist() == [3]

    assert in_a_fork(publish_and_load) == 0
    assert {path.name for path in checkout.iterdir()} == {"mlflow.db", "mlflow-bridge"}
    assert {path.name for path in tmp_path.iterdir()} == {name, "project of first"}


def test_a_path_that_mlflow_would_decode_is_refused(tmp_path):
    encoded, decoded = tmp_path / "my%20course", tmp_path / "my course"
    encoded.mkdir()
    decoded.mkdir()
    with pytest.raises(UserError, match="MLflow takes %20 in a path for ' '"):
        publish_in(encoded, [make_result(tmp_path)])
    assert list(encoded.iterdir()) == list(decoded.iterdir()) == []


@pytest.mark.parametrize("there", [False, True])
def test_a_path_that_is_too_long_for_sqlite_is_refused_at_once(there, new_database, tmp_path):
    checkout = tmp_path / "/".join(["x" * 200] * 4)
    checkout.mkdir(parents=True)
    if there:
        shutil.copy(new_database, checkout)
    with pytest.raises(UserError, match=r"its path has 8.. bytes, but SQLite takes") as refused:
        publish_in(checkout, [make_result(tmp_path)])
    assert str(refused.value).count("\n") == 0


def test_a_checkout_that_was_moved_to_an_odd_path(new_database, mlflow, tmp_path):
    before, after = tmp_path / "before", tmp_path / "a?b%c#d"
    before.mkdir()
    shutil.copy(new_database, before)
    result = make_result(tmp_path)
    publish_in(before, [result])
    before.rename(after)

    os.environ.pop("MLFLOW_TRACKING_URI")  # MLflow sets it

    def load_from_there():
        store = store_in(after)
        relocate_artifacts(store)
        assert is_whole(store, result)
        os.chdir(after)
        mlflow.set_tracking_uri(store.uri)
        mlflow.pyfunc.load_model("models:/weather@champion")

    assert in_a_fork(load_from_there) == 0
    after.rename(before)
    relocate_artifacts(store_in(before))
    assert is_whole(store_in(before), result)


def in_a_fork(function):
    """Call a function in a process of its own: MLflow keeps what it opened by its address."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# What a user wrote.


def note_of(client, run):
    return client.get_run(run.run_id).data.tags["mlflow.note.content"]


def test_the_description_of_a_user_stays(store, client, tmp_path):
    result = make_result(tmp_path)
    run = publish_to(store, result)
    client.set_tag(run.run_id, "mlflow.note.content", "my own words")
    publish_to(store, result, experiment="later")
    assert note_of(client, run) == "my own words"
    assert client.get_run(run.run_id).data.tags["dvc.experiments"] == "later"


def test_a_description_that_a_user_emptied_stays_empty(store, client, tmp_path):
    result = make_result(tmp_path)
    run = publish_to(store, result)
    client.set_tag(run.run_id, "mlflow.note.content", "")
    publish_to(store, result, experiment="later")
    assert note_of(client, run) == ""


def test_the_description_of_the_bridge_is_replaced(store, client, tmp_path):
    result = make_result(tmp_path)
    run = publish_to(store, result)
    assert "dvc exp apply" not in note_of(client, run)
    publish_to(store, result, experiment="later")
    assert "dvc exp apply later" in note_of(client, run)


def test_the_images_of_a_user_stay(store, client, tmp_path):
    result = make_result(tmp_path)
    run = publish_to(store, result)
    client.log_image(run.run_id, np.zeros((2, 2, 3), "uint8"), key="mine", step=1)
    (result.root / "frames/10.png").unlink()
    publish_to(store, dataclasses.replace(result, pictures_digest="another"))
    names = [Path(file.path).name for file in client.list_artifacts(run.run_id, "images")]
    shown = [(name.split("+")[0], name.split("+")[2]) for name in names]
    assert sorted({*shown}) == [("frames", "0"), ("mine", "1")]


def test_the_name_of_an_image_may_have_a_slash(store, client, tmp_path):
    settings = msgspec.structs.replace(SETTINGS, images={"a/b": "frames"})
    run = publish_to(store, make_result(tmp_path, settings=settings))
    files = client.list_artifacts(run.run_id, "images")
    assert len(files) == 4 and all("a#b+step+" in file.path for file in files)


# A run that was begun, and what came between.


def test_a_run_that_was_begun_under_other_parameters_is_begun_again(store, client, tmp_path):
    result = make_result(tmp_path)
    first = publish_to(store, result)
    client.delete_tag(first.run_id, "bridge.complete")
    other = dataclasses.replace(result, params={**result.params, "rate": 0.2})
    second = publish_to(store, other)
    assert second.run_id != first.run_id and second.new
    (run,) = client.search_runs([first.experiment_id])
    assert run.data.params["rate"] == "0.2" and run.info.status == "FINISHED"


def test_a_run_that_was_begun_under_other_names_is_begun_again(store, client, tmp_path):
    result = make_result(tmp_path)
    first = publish_to(store, result)
    client.delete_tag(first.run_id, "bridge.complete")
    champion = msgspec.structs.replace(CHAMPION, metric="value")
    settings = msgspec.structs.replace(SETTINGS, names={"score": "value"}, champion=champion)
    publish_to(store, dataclasses.replace(result, settings=settings))
    (run,) = client.search_runs([first.experiment_id])
    assert run.data.metrics == {"value": 0.5, "loss": 1.0}


def test_a_run_that_was_begun_is_gone_on_with(store, client, tmp_path):
    result = make_result(tmp_path)
    first = publish_to(store, result)
    client.delete_tag(first.run_id, "bridge.complete")
    assert publish_to(store, result).run_id == first.run_id
    assert len(client.get_metric_history(first.run_id, "loss")) == 2


# A store that cannot be written.


def test_a_database_that_may_not_be_written_is_one_message(new_database):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(new_database, folder)
        result = make_result(folder)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o444)
        message = folder / "message"

        def publish_as_nobody():
            os.setuid(65534)
            try:
                publish_in(folder, [result])
            except UserError as error:
                message.write_text(str(error))

        assert in_a_fork(publish_as_nobody) == 0
        expected = f"cannot publish to {folder}/mlflow.db: you may not write it"
        assert message.read_text() == expected


@pytest.mark.parametrize("content", [b"not a database" * 1000, None])
def test_a_damaged_database_is_named_with_what_to_do(content, new_database, tmp_path):
    whole = new_database.read_bytes()
    (tmp_path / "mlflow.db").write_bytes(content or whole[: len(whole) // 2])
    expected = rf"^cannot publish to {tmp_path}/mlflow.db: .*\. Move it away, and publish again$"
    with pytest.raises(UserError, match=expected):
        publish_in(tmp_path, [make_result(tmp_path)])


def test_a_store_in_a_folder_that_cannot_be_made_is_one_message(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///file/mlflow.db")
    store = configured_store(tmp_path, "weather")
    with pytest.raises(UserError) as refused:
        publish_to(store, make_result(tmp_path))
    assert str(refused.value).startswith(f"cannot publish to sqlite:///{tmp_path}/file/mlflow.db: ")


def test_sql_is_never_shown(store, tmp_path):
    execute(store, "ALTER TABLE tags RENAME COLUMN value TO other")
    with pytest.raises(UserError) as refused:
        publish_to(store, make_result(tmp_path))
    assert "no such column: tags.value" in str(refused.value)
    assert "SELECT" not in str(refused.value) and "INSERT" not in str(refused.value)


def test_no_journal_or_temporary_file_is_left(store, tmp_path):
    publish_to(store, make_result(tmp_path))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"mlflow.db", "mlflow-bridge", "project of first"}


def test_a_new_database_has_the_tables_that_mlflow_makes(new_database, mlflow, tmp_path):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{tmp_path}/plain.db", str(tmp_path))
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
    made, plain = (
        {"".join(sorted(sql)) for (sql,) in sqlite3.connect(path).execute(query)}
        for path in (new_database, tmp_path / "plain.db")
    )
    assert made == plain
