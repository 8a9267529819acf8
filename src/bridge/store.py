"""Which store the runs go to, and what can be done in a local one without MLflow.

MLflow's import takes a second; that there is nothing to publish is found out here. What
is read and written are MLflow's own tables: the tests pin them to the locked version.
"""

import os
import re
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.errors import UserError

# Tags of a run: what it shows, and its parts that are there.
DIGEST, PICTURES, COMPLETE = "spirals.digest", "spirals.pictures", "spirals.complete"
EXPERIMENTS = "dvc.experiments"  # tag of a run: every DVC experiment that had this result
FOLDER = "spirals.artifacts"  # tag of an MLflow experiment: the folder that its artifacts lie in

# Every column that holds an absolute path of an artifact.
LOCATIONS = [
    ("experiments", "artifact_location"),
    ("experiment_tags", "value"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
]


@dataclass(frozen=True)
class Store:
    """A tracking store.

    uri: as MLflow takes it.
    experiment: name of the MLflow experiment.
    file: of an SQLite database, else None.
    folder: holds the lock, and the artifacts unless a server keeps them; beside the file.
    """

    uri: str
    experiment: str
    file: Path | None
    folder: Path

    @property
    def public(self):
        """The URI as it may be shown."""
        return self.uri if self.file else without_secrets(self.uri)

    @property
    def server(self):
        """Address of the server, or the one that `make ui` starts for a database."""
        return self.public.rstrip("/") if self.uri.startswith("http") else "http://127.0.0.1:5000"


def without_secrets(address):
    """The address without user, password and query, as it may be shown, even if it is not a valid one."""
    return re.sub(r"(?<=://).*@", "", address.partition("?")[0])


def configured_store():
    """The store of MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME.

    Without them, and for a relative path, it lies at the root of the main checkout: a
    DVC experiment may run in a throw-away one. Raises UserError if it names a folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.STORE}"
    main, file = paths.main_root(), None
    if uri.startswith("sqlite:///"):
        file = main / uri.removeprefix("sqlite:///")
        if file.is_dir():
            raise UserError(f"MLFLOW_TRACKING_URI is {uri}, which is a folder, but must be a file")
        uri = f"sqlite:///{file}"
    folder = (file.parent if file else main) / paths.ARTIFACTS
    return Store(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or "spirals", file, folder)


def complete_runs(store, digests):
    """What a local store has of these results, where its artifacts are in place.

    Returns:
        By digest, a dict: run_id, experiment_id, tags, new (False). Empty for another kind of store,
        or one that cannot be read this way: then MLflow has to be asked.
    """
    found = {}
    if not _exists(store):
        return found
    query = f"""
        SELECT runs.run_uuid, runs.experiment_id, runs.artifact_uri FROM experiments
        JOIN runs USING (experiment_id) JOIN tags USING (run_uuid)
        WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'
        AND tags.key = '{DIGEST}' AND tags.value = ?"""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{store.file.as_uri()}?mode=ro", uri=True)) as database:
        for digest in digests:
            for run, number, artifacts in database.execute(query, (store.experiment, digest)):
                tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)))
                if COMPLETE in tags and artifacts_there(artifacts):
                    found[digest] = {"run_id": run, "experiment_id": str(number), "tags": tags, "new": False}
    return found


def artifacts_there(uri):
    """Whether a run's artifacts are in place; those that a server keeps are taken to be."""
    path = uri.removeprefix("file://")
    return ":/" in path or Path(path).exists()


def mend_moved(store):
    """After the checkout was moved: MLflow stores absolute paths, and finds nothing under the old.

    In one transaction, so that others see the old or the new. Nothing happens in another kind of store.
    """
    if not _exists(store):
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(store.file, timeout=30)) as database, database:
        if old := _old_folder(database, store):
            for table, column in LOCATIONS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (str(store.folder), len(old) + 1, len(old) + 1, f"{old}/"),
                )


def _exists(store):
    return store.file is not None and store.file.exists()


def _old_folder(database, store):
    """Where the artifacts lay when the experiment was made, if not where they should be now."""
    query = "SELECT value FROM experiment_tags JOIN experiments USING (experiment_id) WHERE name = ? AND key = ?"
    row = database.execute(query, (store.experiment, FOLDER)).fetchone()
    return row[0] if row and row[0] != str(store.folder) else None
