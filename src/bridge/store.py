"""Know which MLflow store the runs go to, and how its address may be shown."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from bridge.errors import UserError
from bridge.files import main_checkout
from bridge.versions import decodes_addresses

# Tags of a run.
RESULT = "bridge.result"  # digest of the result that it shows
PICTURES = "bridge.pictures"  # digest of the pictures that it shows
COMPLETE = "bridge.complete"  # set last, when all is there
MODEL = "bridge.model"  # ID of its logged model
DATA = "bridge.data"  # digest of the data that its champion is the best on
METRIC = "bridge.metric"  # by which the champion is the best
EXPERIMENTS = "dvc.experiments"  # names of every DVC experiment that had this result
# Not mlruns: MLflow takes everything in a folder of that name for experiments of a file store.
FOLDER_NAME = "mlflow-bridge"
# Tag of an MLflow experiment: the folder that its artifacts lie in.
FOLDER = "bridge.artifacts"

ALIAS = "champion"
ALIAS_DIGITS = 8  # of the data's digest, in the alias of the best on these data
REGISTRIES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
SQLITE_URI = re.compile(r"(sqlite(?:\+\w+)?):///([^?]*)(\?.*)?", re.DOTALL)
PLAIN_NAME = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)
SHORTEST_SECRET = 4  # characters: shorter ones would tear words apart
URL = re.compile(r"[A-Za-z][\w+.-]*:/+[^\s'\"<>]+")
QUERY = re.compile(r"\?[\w.%-]+=[^\s'\")>]*")


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

    uri: str  # as MLflow takes it, in the folder of an SQLite database
    experiment: str  # name of the MLflow experiment; "" where only its ID is known
    experiment_id: str | None  # where MLFLOW_EXPERIMENT_ID says it
    file: Path | None  # of an SQLite database
    folder: Path  # the bridge's own, beside the file: locks, and artifacts unless a server has them

    @property
    def is_remote(self) -> bool:
        return self.uri.startswith("http")

    @property
    def redacted_uri(self) -> str:
        """The address as it may be shown."""
        return f"sqlite:///{self.file}" if self.file else redact_address(self.uri)

    def redact(self, text: str) -> str:
        """Return a text without the secrets of this address and of others in it."""
        text = text.replace(self.uri, self.redacted_uri)
        for secret in _secrets(self.uri):
            text = text.replace(secret, "...")
        text = URL.sub(lambda address: redact_address(address[0]), text)
        return QUERY.sub("", text)  # a library may show the end of an address alone

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
    scheme, rest = _split_scheme(address.strip())
    place = re.split(r"[?#;]", rest, maxsplit=1)[0]
    hidden = rest[len(place) :]
    if re.search("@|%40", hidden) or "%40" in place.rpartition("@")[2]:
        # A password may hold "?" or "#", a query "@": where the secret begins is not known.
        return f"{scheme}..."
    user, _, host = place.rpartition("@")
    is_secret = scheme or ":" in user or "%3a" in user.lower()
    return f"{scheme}{host}" if is_secret or not user else f"{user}@{host}"


def _split_scheme(address: str) -> tuple[str, str]:
    """Return the scheme with its slashes, and the rest; "http:/host" has a scheme too."""
    found = re.match(r"[A-Za-z][\w+.-]*:[/\\]+", address)
    return (found[0], address[found.end() :]) if found else ("", address)


def _secrets(address: str) -> list[str]:
    """Return the parts of an address that nobody may see, as they stand and as they are meant."""
    _, rest = _split_scheme(address)
    user = rest.rpartition("@")[0]
    hidden = re.split(r"[?#;]", rest)[1:]
    parts = [user, *user.split(":")[1:], *hidden]
    for text in hidden:
        for setting in text.split("&"):
            parts.append(setting.partition("=")[2])
    parts += list(map(unquote, parts))
    found = {part for part in parts if len(part) >= SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)


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
    _check_address(uri)
    main = main_checkout(root)
    file = _database_file(uri, main)
    if file:
        uri = _database_uri(uri, file)
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or None
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or ("" if experiment_id else experiment)
    folder = (file.parent if file else main) / FOLDER_NAME
    return Store(uri, name, experiment_id, file, folder)


def _check_address(uri: str) -> None:
    """Check that an address is one; MLflow takes minutes, or the wrong store, where it is not.

    Raises:
        UserError: with the variable, and what it may be.
    """
    given = f"MLFLOW_TRACKING_URI is {redact_address(uri)}"
    if uri.startswith("http") and not re.match(r"https?://[^/?#@]", uri):
        raise UserError(f"{given}, but must begin as http://host does")
    if uri.startswith("sqlite") and not SQLITE_URI.fullmatch(uri):
        raise UserError(f"{given}, but must name a file that stays: sqlite:///mlflow.db")


def _database_file(uri: str, main: Path) -> Path | None:
    """Return the file of an SQLite database; None for another kind of store.

    The path in an address may be percent-encoded, where SQLAlchemy decodes it.
    """
    found = SQLITE_URI.fullmatch(uri)
    if not found:
        return None
    path = found[2]
    if "%" in path and decodes_addresses():
        path = unquote(path)
    given = f"MLFLOW_TRACKING_URI is {redact_address(uri)}"
    if path.lstrip("/") in ("", ":memory:") or path.startswith("file:"):
        raise UserError(f"{given}, but must name a file that stays: sqlite:///mlflow.db")
    file = main / path
    if file.is_dir():
        raise UserError(f"{given}, which is a folder, but must be a file")
    return file


def _database_uri(uri: str, file: Path) -> str:
    """Return the address of a database as it is to be opened in the folder of its file.

    SQLAlchemy wants "%" and "?" to be percent-encoded, and before 2.1 takes them as they are, but
    no "?". MLflow takes what is encoded for a path, and makes that folder: so a path that needs it
    is said from the file's own folder.
    """
    kind, _, query = SQLITE_URI.fullmatch(uri).groups(default="")  # type: ignore[union-attr]
    path = str(file)
    if re.search("[%?]", path):
        path = file.name
    if re.search("[%?]", path) and decodes_addresses():
        path = path.replace("%", "%25").replace("?", "%3F")
    return f"{kind}:///{path}{query}"


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
    return folder.as_uri() if re.search(r"[%#?\x00-\x1f]", path) else path


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
