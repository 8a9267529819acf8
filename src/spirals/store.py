"""The local store, `mlflow.db` and `mlruns/`, without MLflow: its import takes a second.

What is read and written here are MLflow's own tables; the tests pin them to the
version in requirements.lock.
"""

import os
import sqlite3
from contextlib import chdir, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from spirals import paths
from spirals.files import replacing

DIGEST, PICTURES, COMPLETE, EXPERIMENTS = (
    "spirals.digest",
    "spirals.pictures",
    "spirals.complete",
    "dvc.experiments",
)
FOLDER = "spirals.artifacts"  # tag of an experiment: the folder that its artifacts lie in

# Every column that holds an absolute path of an artifact.
LOCATIONS = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("experiment_tags", "value"),
]


def tracking_uri():
    """MLFLOW_TRACKING_URI where it is set, else the database at the root of the main checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.main_root() / paths.STORE}"


def experiment_name():
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "spirals"


def database(uri):
    """Path of an SQLite store's file, or None for any other store."""
    return uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None


def without_password(uri):
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.password else uri


def complete_runs(uri, experiment, digests):
    """What an SQLite store already has of these results.

    Returns:
        By digest, a dict: run_id, experiment_id, tags. Empty for another kind of
        store, or one that cannot be read this way: then MLflow has to be asked.
    """
    file = database(uri)
    found = {}
    if file is None or not os.path.exists(file):
        return found
    query = f"""
        SELECT runs.run_uuid, runs.experiment_id FROM experiments
        JOIN runs USING (experiment_id) JOIN tags USING (run_uuid)
        WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'
        AND tags.key = '{DIGEST}' AND tags.value = ?"""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
        for digest in digests:
            for run, number in store.execute(query, (experiment, digest)):
                tags = dict(store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)))
                if COMPLETE in tags:
                    found[digest] = {"run_id": run, "experiment_id": str(number), "tags": tags}
    return found


def mend_moved(uri, experiment, folder):
    """After the checkout was moved: MLflow stores absolute paths, and finds nothing under the old.

    Args:
        uri: of the store; nothing happens unless it is SQLite and has the experiment.
        experiment: its name.
        folder: where the artifacts lie now.

    Returns:
        Whether anything was out of place.
    """
    file = database(uri)
    if file is None or not os.path.exists(file):
        return False
    query = "SELECT value FROM experiment_tags JOIN experiments USING (experiment_id) WHERE name = ? AND key = ?"
    with closing(sqlite3.connect(file, timeout=30)) as store, suppress(sqlite3.OperationalError), store:
        row = store.execute(query, (experiment, FOLDER)).fetchone()
        if row is None or row[0] == str(folder):
            return False
        old = row[0]
        for table, column in LOCATIONS:
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                (str(folder), len(old) + 1, len(old) + 1, old + "/"),
            )
        return True
    return False


def create_database(uri, folder):
    """Makes the tables of a new SQLite store, aside, and puts the whole file in place.

    MLflow makes them in place, where two at once, or a kill half-way, leave a database
    that never works again. The caller holds the lock.
    """
    file = database(uri)
    if file is None or os.path.exists(file):
        return
    from mlflow import MlflowClient

    with replacing(Path(file)) as temporary, chdir(folder.parent):
        MlflowClient(f"sqlite:///{temporary}").search_experiments()
