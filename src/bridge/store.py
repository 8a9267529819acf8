"""Know which MLflow store the runs go to, and how its address may be shown."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from bridge.errors import UserError
from bridge.files import main_checkout

# Tags of a run.
RESULT = "bridge.result"  # digest of the result that it shows
PICTURES = "bridge.pictures"  # digest of the pictures that it shows
COMPLETE = "bridge.complete"  # set last, when all is there
MODEL = "bridge.model"  # ID of its logged model
DATA = "bridge.data"  # digest of the data that its champion is the best on
METRIC = "bridge.metric"  # by which the champion is the best
EXPERIMENTS = "dvc.experiments"  # names of every DVC experiment that had this result
# Tag of an MLflow experiment: the folder that its artifacts lie in.
FOLDER = "bridge.artifacts"

ALIAS = "champion"
ALIAS_DIGITS = 8  # of the data's digest, in the alias of the best on these data
REGISTRIES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
SQLITE_URI = re.compile(r"(sqlite(?:\+\w+)?):///?([^?]*)(\?.*)?")
PLAIN_NAME = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)
LONGEST_PATH = 800  # characters: MLflow keeps what lies below it in columns of 1000 at most


@dataclass(frozen=True)
class PublishedRun:
    """A run of the store that shows a result."""

    run_id: str
    experiment_id: str
    tags: dict[str, str] = field(default_factory=dict)
    new: bool = False  # whether it was made just now


@dataclass(frozen=True)
class Store:
    """A tracking store."""

    uri: str  # as MLflow takes it
    experiment: str  # name of the MLflow experiment; "" where only its ID is said
    experiment_id: str | None  # where MLFLOW_EXPERIMENT_ID says it
    file: Path | None  # of an SQLite database
    folder: Path  # beside the file: holds the locks, and the artifacts unless a server keeps them

    @property
    def is_remote(self) -> bool:
        return self.uri.startswith("http")

    @property
    def redacted_uri(self) -> str:
        """The address as it may be shown."""
        return self.uri if self.file else redact_address(self.uri)

    def redact(self, text: str) -> str:
        """Return a text of somebody else's without the secrets of the address."""
        text = text.replace(self.uri, self.redacted_uri)
        text = re.sub(r"(?<=://)[^\s/]*@", "", text)
        secrets = re.split(r"[?#]", self.uri, maxsplit=1)[1:]
        if secrets and not self.file:
            text = re.sub(rf"[?#]?{re.escape(secrets[0])}", "", text)
        return text

    @property
    def server(self) -> str:
        """The address of the server, or the one that `mlflow ui` serves a database at."""
        port = os.environ.get("MLFLOW_PORT") or "5000"
        return self.redacted_uri.rstrip("/") if self.is_remote else f"http://127.0.0.1:{port}"


def redact_address(address: str) -> str:
    """Return an address as it may be shown: without user, password, query and fragment.

    It may be of any kind, valid or not: of a server, of a database, or what Git takes for a remote
    (`user:password@host:path`). A user alone, as in `git@host:path`, is no secret.
    """
    scheme, separator, rest = _split_scheme(address)
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(place) :]:
        # A password may hold "?" or "#", a query "@": where the secret begins is not known.
        return f"{scheme}{separator}..."
    if "@" not in place:
        return f"{scheme}{separator}{place}"
    user, _, host = place.rpartition("@")
    if separator or ":" in user:
        return f"{scheme}{separator}{host}"
    return f"{user}@{host}"


def _split_scheme(address: str) -> tuple[str, str, str]:
    """Return scheme, what divides it from the rest, and the rest; "http:/host" has a scheme too."""
    found = re.match(r"([A-Za-z][\w+.-]*)(:/{1,3})", address)
    if not found:
        return "", "", address
    return found[1], found[2], address[found.end() :]


def configured_store(root: Path, experiment: str) -> Store:
    """Return the store that MLflow's own variables name.

    They are MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and MLFLOW_EXPERIMENT_ID. Without the
    first, and for a relative path, the store lies at the root of the main checkout: a DVC
    experiment may run in a throw-away one.

    Args:
        root: of the project.
        experiment: its name where no variable says it.

    Raises:
        UserError: a variable says what cannot be used.
    """
    _check_registry()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
    uri = re.sub("^[^:]*", lambda scheme: scheme[0].lower(), uri)
    main = main_checkout(root)
    file = _database_file(uri, main)
    if file:
        kind, _, query = _split_sqlite(uri)
        uri = f"{kind}:///{quote(str(file))}{query}"
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or None
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or ("" if experiment_id else experiment)
    folder = (file.parent if file else main) / "mlruns"
    if len(str(folder)) > LONGEST_PATH and not uri.startswith("http"):
        length = len(str(folder))
        reason = f"MLflow has no room for it: at most {LONGEST_PATH}"
        raise UserError(f"the path of {folder.name} has {length} characters; {reason}")
    return Store(uri, name, experiment_id, file, folder)


def _split_sqlite(uri: str) -> tuple[str, str, str]:
    """Return kind, path and query of an SQLite database's address; "" for each if it is none."""
    found = SQLITE_URI.fullmatch(uri)
    if not found:
        return "", "", ""
    kind, path, query = found.groups(default="")
    return kind, path, query


def _database_file(uri: str, main: Path) -> Path | None:
    """Return the file of an SQLite database; None for another kind of store.

    The path in an address is percent-encoded, as SQLAlchemy reads it.
    """
    kind, path, _ = _split_sqlite(uri)
    if not kind:
        return None
    if path.lstrip("/") in ("", ":memory:") or path.startswith("file:"):
        reason = "but must name a file that stays: sqlite:///mlflow.db"
        raise UserError(f"MLFLOW_TRACKING_URI is {uri}, {reason}")
    file = main / unquote(path)
    if file.is_dir():
        raise UserError(f"MLFLOW_TRACKING_URI is {uri}, which is a folder, but must be a file")
    return file


def _check_registry() -> None:
    registry = os.environ.get("MLFLOW_REGISTRY_URI", "").strip()
    kind = re.split(r"[:+]", registry.lower())[0]
    if registry and kind not in REGISTRIES:
        given = f"MLFLOW_REGISTRY_URI is {redact_address(registry)}"
        allowed = f"unset it, or name one of {', '.join(REGISTRIES)}"
        raise UserError(f"{given}, which cannot keep the aliases of a champion: {allowed}")


def artifact_location(folder: Path) -> str:
    """Return a folder as MLflow takes it: as an address, where a path would be misread."""
    path = str(folder)
    return folder.as_uri() if re.search("[%#?]", path) else path


def safe_name(experiment: str) -> str:
    """Return the name of an experiment's registered model, and of its folder of artifacts.

    MLflow takes no slash in it, and a folder has other rules again. No two experiments have the
    same one: where characters are replaced, digits of a hash are added.
    """
    if PLAIN_NAME.fullmatch(experiment):
        return experiment
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", experiment).lstrip(".")[:80]
    digits = hashlib.sha256(experiment.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}~{digits}"


def alias_of(data: str) -> str:
    """Return the alias of the best model on some data, by their digest."""
    return f"{ALIAS}-{data[:ALIAS_DIGITS]}"
