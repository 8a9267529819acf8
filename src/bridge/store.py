"""Which store the runs go to, and what can be done in a local one without MLflow.

MLflow's import takes a second; that there is nothing to publish is found out here. What is read and written are
MLflow's own tables: the tests pin them to the locked version.
"""

import os
import re
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import UserError
from bridge.files import main_checkout

# Tags of a run: what it shows, and its parts that are there.
RESULT, PICTURES, COMPLETE = "bridge.result", "bridge.pictures", "bridge.complete"
EXPERIMENTS = "dvc.experiments"  # tag of a run: every DVC experiment that had this result
FOLDER = "bridge.artifacts"  # tag of an MLflow experiment: the folder that its artifacts lie in
REGISTRIES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")

# Every column that holds an absolute path of an artifact.
LOCATIONS = """experiments.artifact_location experiment_tags.value runs.artifact_uri
    logged_models.artifact_location model_versions.storage_location"""


@dataclass(frozen=True)
class Store:
    """A tracking store."""

    uri: str  # as MLflow takes it
    experiment: str  # name of the MLflow experiment; "" where only its number is said
    number: str | None  # the experiment's, where MLFLOW_EXPERIMENT_ID says it
    file: Path | None  # of an SQLite database
    folder: Path  # beside the file: holds the locks, and the artifacts unless a server keeps them

    @property
    def is_remote(self):
        return self.uri.startswith("http")

    @property
    def redacted_uri(self):
        """The URI as it may be shown."""
        return self.uri if self.file else redact_address(self.uri)

    def redact(self, text):
        """What others say, without the secrets of the URI."""
        text = re.sub(r"(?<=://)\S*@", "", text.replace(self.uri, self.redacted_uri))
        query = self.uri.partition("?")[2]
        return text.replace(f"?{query}", "") if query and not self.file else text

    @property
    def server(self):
        """Address of the server, or the one that `mlflow ui` serves a database at."""
        port = os.environ.get("MLFLOW_PORT") or "5000"
        return self.redacted_uri.rstrip("/") if self.is_remote else f"http://127.0.0.1:{port}"


def redact_address(address):
    """The address without user, password and query, as it may be shown, even if it is not a valid one."""
    scheme, separator, rest = address.partition("://")
    if separator and "@" in rest.partition("?")[2]:  # the password may hold a "?", the query an "@"
        return f"{scheme}://..."
    return re.sub(r"(?<=://).*@", "", address.partition("?")[0])


def configured_store(root, experiment):
    """The store that MLflow's own variables name: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID.

    Without the first, and for a relative path, it lies at the root of the main checkout: a DVC experiment may run in a
    throw-away one. `experiment` is the name where no variable says it. UserError if one says what cannot be used.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
    uri = re.sub("^[^:]*", lambda scheme: scheme[0].lower(), uri)
    main, file = main_checkout(root), None
    if found := re.fullmatch(r"(sqlite(?:\+\w+)?):///?([^?]*)(\?.*)?", uri):
        kind, path, query = found.groups(default="")
        if path.lstrip("/") in ("", ":memory:") or path.startswith("file:"):
            raise UserError(
                f"MLFLOW_TRACKING_URI is {uri}, but must name a file that stays: sqlite:///mlflow.db"
            )
        file = main / path
        if file.is_dir():
            raise UserError(f"MLFLOW_TRACKING_URI is {uri}, which is a folder, but must be a file")
        uri = f"{kind}:///{file}{query}"
    registry = os.environ.get("MLFLOW_REGISTRY_URI", "").strip()
    if registry and re.split(r"[:+]", registry.lower())[0] not in REGISTRIES:
        told = f"MLFLOW_REGISTRY_URI is {redact_address(registry)}, which cannot keep the aliases of a champion"
        raise UserError(f"{told}: unset it, or name one of {', '.join(REGISTRIES)}")
    number = os.environ.get("MLFLOW_EXPERIMENT_ID") or None
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or ("" if number else experiment)
    return Store(uri, name, number, file, (file.parent if file else main) / "mlruns")


def complete_runs(store, digests):
    """What a local store has of these results, with its artifacts: by digest, a dict: run_id, experiment_id, tags.

    Nothing of another kind of store, or of one that cannot be read this way: then MLflow has to be asked.
    """
    found = {}
    query = f"""
        SELECT runs.run_uuid, runs.experiment_id, runs.artifact_uri FROM experiments
        JOIN runs USING (experiment_id) JOIN tags USING (run_uuid)
        WHERE (:name = '' OR experiments.name = :name) AND (:number IS NULL OR experiment_id = :number)
        AND runs.lifecycle_stage = 'active' AND tags.key = '{RESULT}' AND tags.value = :digest"""
    with suppress(sqlite3.Error), _database(store, "ro") as database:
        for digest in digests:
            asked = {"name": store.experiment, "number": store.number, "digest": digest}
            for run, number, artifacts in database.execute(query, asked):
                tags = dict(
                    database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,))
                )
                if COMPLETE in tags and artifacts_there(artifacts):
                    found[digest] = {"run_id": run, "experiment_id": str(number), "tags": tags}
    return found


def artifacts_there(uri):
    """Whether a run's artifacts are in place; those that a server keeps are taken to be."""
    path = uri.removeprefix("file://")
    return ":/" in path or Path(path).exists()


def relocate_artifacts(store):
    """After the checkout was moved: MLflow stores absolute paths, and finds nothing under the old.

    In one transaction, so that others see the old or the new.
    """
    new = str(store.folder)
    with suppress(sqlite3.Error), _database(store, "rw") as database, database:
        moved = "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value != ?"
        for (old,) in database.execute(moved, (FOLDER, new)).fetchall():
            for table, column in (location.split(".") for location in LOCATIONS.split()):
                change = f"UPDATE {table} SET {column} = ?1 || substr({column}, ?2)"
                where = f"WHERE substr({column} || '/', 1, ?2) = ?3"
                database.execute(f"{change} {where}", (new, len(old) + 1, f"{old}/"))


def _database(store, mode):
    """Of a local store; sqlite3.Error where there is none."""
    if store.file is None:
        raise sqlite3.OperationalError("no local store")
    return closing(sqlite3.connect(f"{store.file.as_uri()}?mode={mode}", timeout=30, uri=True))
