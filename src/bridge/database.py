"""Read and mend a local store without MLflow, whose import takes a second.

All that touches MLflow's own SQLite tables is here. They are no documented interface: each function
looks at the version of the schema first. Of one that it does not know it says that nothing is
there, and MLflow itself is asked.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

from bridge.errors import UserError
from bridge.files import atomic_write
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

KNOWN_SCHEMAS = ("dc11669786a5",)  # alembic_version of MLflow 3.17.2
# Every column that holds an absolute path of an artifact.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
TIMEOUT = 30  # seconds that SQLite waits for others

FIND_RUN = f"""
    SELECT runs.run_uuid, runs.experiment_id, runs.artifact_uri, experiments.name
    FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
    WHERE (:name = '' OR experiments.name = :name)
    AND (:experiment_id IS NULL OR experiment_id = :experiment_id)
    AND runs.lifecycle_stage = 'active'
    AND tags.key = '{RESULT}' AND tags.value = :digest"""

FIND_BEST = f"""
    SELECT runs.run_uuid
    FROM runs JOIN latest_metrics AS metric ON metric.run_uuid = runs.run_uuid
    JOIN tags AS data ON data.run_uuid = runs.run_uuid AND data.key = '{DATA}'
    JOIN tags AS complete ON complete.run_uuid = runs.run_uuid AND complete.key = '{COMPLETE}'
    WHERE runs.experiment_id = :experiment_id AND runs.lifecycle_stage = 'active'
    AND data.value = :data AND metric.key = :metric AND NOT metric.is_nan
    ORDER BY metric.value DESC, runs.start_time ASC, runs.run_uuid LIMIT 1"""

FIND_CHAMPION = """
    SELECT versions.run_id FROM registered_model_aliases AS aliases
    JOIN model_versions AS versions
    ON versions.name = aliases.name AND versions.version = aliases.version
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
    for run_id, experiment_id, artifacts, experiment in database.execute(FIND_RUN, asked):
        select = "SELECT key, value FROM tags WHERE run_uuid = ?"
        run = PublishedRun(run_id, str(experiment_id), dict(database.execute(select, (run_id,))))
        if COMPLETE not in run.tags or not artifacts_there(artifacts):
            continue
        if result.settings.model and not _has_model(database, run):
            continue
        if result.settings.champion and not _has_champion(database, run, experiment):
            continue
        return run
    return None


def _has_model(database: sqlite3.Connection, run: PublishedRun) -> bool:
    """Return whether the logged model of a run is there, with its files."""
    select = """SELECT artifact_location FROM logged_models
        WHERE model_id = ? AND lifecycle_stage = 'active'"""
    row = database.execute(select, (run.tags.get(MODEL),)).fetchone()
    return row is not None and artifacts_there(row[0])


def _has_champion(database: sqlite3.Connection, run: PublishedRun, experiment: str) -> bool:
    """Return whether the best run on the data of this one has their alias, and there is ALIAS."""
    data = run.tags.get(DATA, "")
    asked = {"experiment_id": int(run.experiment_id), "data": data}
    best = database.execute(FIND_BEST, {**asked, "metric": run.tags.get(METRIC)}).fetchone()
    if best is None:
        return True  # no number is the best
    name = safe_name(experiment)
    find = {"name": name, "alias": alias_of(data)}
    champion = database.execute(FIND_CHAMPION, find).fetchone()
    any_data = database.execute(FIND_CHAMPION, {"name": name, "alias": ALIAS}).fetchone()
    return champion == best and any_data is not None


def artifacts_there(location: str) -> bool:
    """Return whether artifacts are in place; those that a server keeps are taken to be."""
    if location.startswith("file:"):
        return Path(unquote(urlparse(location).path)).exists()
    return ":/" in location or Path(location).exists()


def relocate_artifacts(store: Store) -> None:
    """Write the paths of a store anew whose checkout was moved: MLflow keeps absolute ones.

    In one transaction, so that others see the old paths or the new. At every run, not by a command
    of its own: it is one query, and MLflow lists nothing, without a word, under the old paths.
    """
    folder = str(store.folder)
    with suppress(sqlite3.Error, TypeError), _open(store, "rw") as database, database:
        select = "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value != ?"
        for (old,) in database.execute(select, (FOLDER, folder)).fetchall():
            _replace_locations(database, Path(old), store.folder)
            update = "UPDATE experiment_tags SET value = ? WHERE key = ? AND value = ?"
            database.execute(update, (folder, FOLDER, old))


def _replace_locations(database: sqlite3.Connection, old: Path, new: Path) -> None:
    location = artifact_location(new)
    for before in {str(old), artifact_location(old)}:
        for table, column in LOCATIONS:
            update = f"UPDATE {table} SET {column} = ?1 || substr({column}, ?2)"
            where = f"WHERE substr({column} || '/', 1, ?2) = ?3"
            database.execute(f"{update} {where}", (location, len(before) + 1, f"{before}/"))


def check_writable(store: Store) -> None:
    """Check that a local store can be written, before MLflow tries for minutes.

    Raises:
        UserError: with the file, and what SQLite says.
    """
    if store.file is None or not store.file.exists():
        return
    if not os.access(store.file, os.W_OK):
        raise UserError(f"cannot publish to {store.file}: you may not write it")
    if not os.access(store.file.parent, os.W_OK):
        raise UserError(f"cannot publish to {store.file}: you may not write its folder")
    address = f"file:{quote(str(store.file))}?mode=rw"
    try:
        with closing(sqlite3.connect(address, timeout=TIMEOUT, uri=True)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except sqlite3.DatabaseError as error:
        reason = str(error)
        advice = ""
        if "not a database" in reason or "malformed" in reason:
            advice = ". Move it away, and publish again"
        raise UserError(f"cannot publish to {store.file}: {reason}{advice}") from None


@dataclass(frozen=True)
class _FastWrites:
    """Has SQLite not wait for the disk; said to every connection that is made."""

    def __call__(self, connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")  # no file of its own, left by a kill


def create_database(store: Store) -> None:
    """Make the tables of a new database aside, and put the whole file in place.

    MLflow makes them in place, where two at once, or a kill half-way, leave a database that never
    works again. It commits 70 times: that none of them waits for the disk saves more than a second
    of the first `dvc repro`.
    """
    import sqlalchemy
    from mlflow import MlflowClient

    if store.file is None or store.file.exists():
        return
    with file_lock(store, "database"):
        if store.file.exists():
            return
        hurry = _FastWrites()
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hurry)
        try:
            with atomic_write(store.file) as temporary, chdir(store.file.parent):
                temporary.touch()  # where no file can be made, MLflow tries for minutes
                MlflowClient(f"sqlite:///{quote(str(temporary))}").search_experiments()
                with temporary.open("rb+") as made:
                    os.fsync(made.fileno())
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hurry)
