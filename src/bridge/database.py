"""Read and mend a local store without MLflow, whose import takes a second.

All that touches MLflow's own SQLite tables is here. They are no documented interface: each function
looks at the version of the schema first. Of one that it does not know it says that nothing is
there, and MLflow itself is asked.
"""

import os
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

from bridge.atomic import atomic_write
from bridge.errors import UserError
from bridge.locks import file_lock
from bridge.results import Result
from bridge.store import (
    ALIAS,
    COMPLETE,
    DATA,
    FOLDER,
    METRIC,
    MODEL,
    RESULT,
    PublishedRun,
    Store,
    alias_of,
    artifact_location,
    safe_name,
)

# Versions of MLflow's schema (alembic_version), from MLflow 3.0 to 3.17.2: the columns that are
# read and written here are the same in all of them.
SCHEMAS = """
    6953534de441 bda7b8c39065 cbc13b556ace 770bee3ae1dd a1b2c3d4e5f6 de4033877273
    1a0cddfcaa16 534353b11cbc 71994744cf8e 3da73c924c2f bf29a5ff90ea 1bd49d398cd23
    b7c8d9e0f1a2 5d2d30f0abce c9d4e5f6a7b8 2c33131f4dae d3e4f5a6b7c8 d0e1f2a3b4c5
    c8d9e0f1a2b3 1b5f0d9ad7c1 e1f2a3b4c5d6 76601a5f987d c3d6457b6d8a a5b4c3d2e1f0
    ae8bbe7743c9 7d34483879f0 da6fb0208061 89d3d66ed43f b7e4c1a90f23 a8b9c0d1e2f3
    c1d2e3f4a5b6 c3d9e7f1a2b4 6f8d9c3b2a1e 1971f2d9a75b 17e22815139b b7e2c1a4d9f3
    75868b020152 dc11669786a5
"""
KNOWN_SCHEMAS = SCHEMAS.split()
READY = 2  # status of a logged model
# Every column that holds an absolute path of an artifact.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
LONGEST_PATH = 490  # bytes: SQLite takes 504, and a new database has a longer name at first
TIMEOUT = 30  # seconds that SQLite waits for others

FIND_RUN = f"""
    SELECT runs.run_uuid, runs.experiment_id, runs.artifact_uri, experiments.name
    FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
    WHERE (:name = '' OR experiments.name = :name)
    AND (:experiment_id IS NULL OR experiment_id = :experiment_id)
    AND runs.lifecycle_stage = 'active'
    AND tags.key = '{RESULT}' AND tags.value = :digest"""

FIND_BEST = f"""
    SELECT runs.run_uuid, logged_models.artifact_location
    FROM runs JOIN latest_metrics AS metric ON metric.run_uuid = runs.run_uuid
    JOIN tags AS data ON data.run_uuid = runs.run_uuid AND data.key = '{DATA}'
    JOIN tags AS complete ON complete.run_uuid = runs.run_uuid AND complete.key = '{COMPLETE}'
    JOIN tags AS model ON model.run_uuid = runs.run_uuid AND model.key = '{MODEL}'
    JOIN logged_models ON logged_models.model_id = model.value
    WHERE runs.experiment_id = :experiment_id AND runs.lifecycle_stage = 'active'
    AND logged_models.lifecycle_stage = 'active' AND logged_models.status = {READY}
    AND data.value = :data AND metric.key = :metric AND NOT metric.is_nan
    ORDER BY metric.value DESC, runs.start_time ASC, runs.run_uuid"""

FIND_CHAMPION = f"""
    SELECT versions.run_id, data.value, metric.value FROM registered_model_aliases AS aliases
    JOIN model_versions AS versions
    ON versions.name = aliases.name AND versions.version = aliases.version
    JOIN tags AS model ON model.run_uuid = versions.run_id AND model.key = '{MODEL}'
    AND versions.source = 'models:/' || model.value
    JOIN tags AS data ON data.run_uuid = versions.run_id AND data.key = '{DATA}'
    JOIN tags AS metric ON metric.run_uuid = versions.run_id AND metric.key = '{METRIC}'
    WHERE aliases.name = :name AND aliases.alias = :alias
    AND versions.current_stage != 'Deleted_Internal'"""


@contextmanager
def _open(store: Store, mode: str) -> Iterator[sqlite3.Connection]:
    """Give a connection to a local store; sqlite3.Error where there is none that is known."""
    if store.file is None:
        raise sqlite3.OperationalError("no local store")
    address = f"file:{quote(str(store.file))}?mode={mode}"
    with closing(sqlite3.connect(address, timeout=TIMEOUT, uri=True)) as database:
        (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        if version not in KNOWN_SCHEMAS:
            raise sqlite3.OperationalError(f"schema {version} is not known")
        yield database


def complete_runs(store: Store, results: list[Result]) -> dict[str, PublishedRun]:
    """Return the runs of a local store that show results with all that belongs to them, by digest.

    That is: the artifacts of the run, its model, and the champion on its data. Nothing is found in
    another kind of store, or in one that cannot be read this way: then MLflow has to be asked.
    """
    found = {}
    with suppress(sqlite3.Error, TypeError), _open(store, "ro") as database:
        for result in results:
            run = _find_complete(database, store, result)
            if run:
                found[result.digest] = run
    return found


def _find_complete(
    database: sqlite3.Connection, store: Store, result: Result
) -> PublishedRun | None:
    asked = {"name": store.experiment, "experiment_id": store.experiment_id}
    asked["digest"] = result.digest
    select = "SELECT key, value FROM tags WHERE run_uuid = ?"
    for run_id, experiment_id, artifacts, experiment in database.execute(FIND_RUN, asked):
        tags = dict(database.execute(select, (run_id,)))
        run = PublishedRun(run_id, str(experiment_id), tags)
        if COMPLETE not in run.tags or not artifacts_there(artifacts):
            continue
        if result.settings.model and not _has_model(database, run):
            continue
        if not champion_tags(result).items() <= run.tags.items():
            continue  # mlflow.yaml says otherwise now
        if result.settings.champion and not _has_champion(database, run, experiment):
            continue
        return run
    return None


def champion_tags(result: Result) -> dict[str, str]:
    """Return the tags by which the run of a result is compared with others."""
    champion = result.settings.champion
    return {DATA: result.compared_on, METRIC: champion.metric} if champion else {}


def _has_model(database: sqlite3.Connection, run: PublishedRun) -> bool:
    """Return whether the logged model of a run is there, with its files."""
    select = f"""SELECT artifact_location FROM logged_models
        WHERE model_id = ? AND lifecycle_stage = 'active' AND status = {READY}"""
    row = database.execute(select, (run.tags.get(MODEL),)).fetchone()
    return row is not None and model_there(row[0])


def _has_champion(database: sqlite3.Connection, run: PublishedRun, experiment: str) -> bool:
    """Return whether the best run on the data of this one has their alias, and one has ALIAS."""
    if os.environ.get("MLFLOW_REGISTRY_URI"):
        return True  # they are kept elsewhere: MLflow would have to be imported to look there
    data, metric = run.tags.get(DATA, ""), run.tags.get(METRIC, "")
    best = _find_best(database, run.experiment_id, data, metric)
    if best is None:
        return True  # no number is the best
    name = safe_name(experiment)
    own = database.execute(FIND_CHAMPION, {"name": name, "alias": alias_of(data)}).fetchone()
    if own is None or own[0] != best:
        return False
    champion = database.execute(FIND_CHAMPION, {"name": name, "alias": ALIAS}).fetchone()
    if champion is None:
        return False
    run_id, data, metric = champion
    return run_id == _find_best(database, run.experiment_id, data, metric)


def _find_best(
    database: sqlite3.Connection, experiment_id: str, data: str, metric: str
) -> str | None:
    asked = {"experiment_id": int(experiment_id), "data": data, "metric": metric}
    for run_id, location in database.execute(FIND_BEST, asked):
        if model_there(location):
            return str(run_id)
    return None


def artifacts_there(location: str) -> bool:
    """Return whether artifacts are in place; those that a server keeps are taken to be."""
    if location.startswith("file:"):
        return Path(unquote(urlparse(location).path)).exists()
    return ":/" in location or Path(location).exists()


def model_there(location: str) -> bool:
    """Return whether a model can be loaded from a location, as `artifacts_there`."""
    return artifacts_there(f"{location}/MLmodel")


def relocate_artifacts(store: Store) -> None:
    """Update the paths in a store after its checkout was moved: MLflow stores absolute ones.

    In one transaction, so that others see the old paths or the new. At every run, not by a command
    of its own: it is one query, and MLflow lists nothing, without a word, under the old paths.
    """
    with suppress(sqlite3.Error, TypeError), _open(store, "rw") as database, database:
        select = "SELECT DISTINCT value FROM experiment_tags WHERE key = ?"
        for (old,) in database.execute(select, (FOLDER,)).fetchall():
            # It has another name in stores that were made before the folder had its own.
            folder = store.folder.with_name(Path(old).name)
            if str(folder) == old:
                continue
            _replace_locations(database, Path(old), folder)
            update = "UPDATE experiment_tags SET value = ? WHERE key = ? AND value = ?"
            database.execute(update, (str(folder), FOLDER, old))


def _replace_locations(database: sqlite3.Connection, old: Path, new: Path) -> None:
    location = artifact_location(new)
    for before in {str(old), old.as_uri()}:
        for table, column in LOCATIONS:
            update = f"UPDATE {table} SET {column} = ?1 || substr({column}, ?2)"
            where = f"WHERE substr({column} || '/', 1, ?2) = ?3"
            database.execute(f"{update} {where}", (location, len(before) + 1, f"{before}/"))


def prepare_database(store: Store) -> None:
    """See that a local store is there and can be written, before MLflow tries for minutes.

    Raises:
        UserError: with the file, and what is wrong with it.
    """
    if store.file is None:
        return
    _check_path(store.file)
    try:
        if not store.file.exists():
            _create_database(store, store.file)
        _check_writable(store.file)
    except sqlite3.Error as error:
        raise UserError(_explain(error, store.file)) from None


def _check_path(file: Path) -> None:
    """Check that MLflow can load a model from below a folder: it decodes some paths twice."""
    decoded = re.search("%[0-9A-Fa-f]{2}", str(file.parent))
    if decoded:
        meant = unquote(decoded[0])
        reason = f"MLflow takes {decoded[0]} in a path for {meant!r}, and finds no model there"
        advice = "Rename the folder, or set MLFLOW_TRACKING_URI=sqlite:////another/folder/mlflow.db"
        raise UserError(f"cannot publish to {file}: {reason}. {advice}")


def _check_writable(file: Path) -> None:
    if not os.access(file, os.W_OK):
        raise UserError(f"cannot publish to {file}: you may not write it")
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"cannot publish to {file}: you may not write in its folder")
    address = f"file:{quote(str(file))}?mode=rw"
    with closing(sqlite3.connect(address, timeout=TIMEOUT, uri=True)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("SELECT count(*) FROM sqlite_master")
        database.rollback()


def _explain(error: sqlite3.Error, file: Path) -> str:
    """Return what is wrong with a database, and what to do."""
    reason = str(error)
    length = len(os.fsencode(file))
    if "unable to open" in reason and length > LONGEST_PATH:
        reason = f"its path has {length} bytes, but SQLite takes {LONGEST_PATH} at most"
    advice = ""
    if "disk is full" in reason:
        reason = "no space is left on its disk"
        advice = ". Nothing that was computed is lost: make room, and publish again"
    if "not a database" in reason or "malformed" in reason:
        advice = ". Move it away, and publish again"
    return f"cannot publish to {file}: {reason}{advice}"


def _create_database(store: Store, file: Path) -> None:
    """Create a new database in a temporary file, then move it into place.

    MLflow creates it in place, where two processes at once, or a kill half-way, leave a database
    that never works again. It commits 70 times: in memory none of these commits waits for the
    disk, which saves a second or more of the first `dvc repro`.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with file_lock(store, "database"):
        if file.exists():
            return
        memory = f"file:{uuid.uuid4().hex}?mode=memory&cache=shared"
        with atomic_write(file) as temporary:
            with closing(sqlite3.connect(temporary)) as target:
                target.execute("PRAGMA user_version = 0")  # now it is known whether it can be made
                with closing(sqlite3.connect(memory, uri=True)) as source:
                    address = f"sqlite:///{memory}&uri=true"
                    SqlAlchemyStore(address, store.folder.as_uri())  # type: ignore[no-untyped-call]
                    source.backup(target)
            with temporary.open("rb+") as made:
                os.fsync(made.fileno())
