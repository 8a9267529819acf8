"""See that one publisher at a time publishes a result, on this machine and at a server."""

import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.store import Store

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow import MlflowClient

PATIENCE = 120  # seconds until a claim that nobody renews is that of a publisher that was killed
TELL_AFTER = 5  # seconds of waiting, until it is said for whom
POLL = 0.2  # seconds
KEY_DIGITS = 16  # of what is locked, in names
CREATED_BY_ANOTHER = "RESOURCE_ALREADY_EXISTS"
GONE = "RESOURCE_DOES_NOT_EXIST"


def file_lock(store: Store, key: str) -> "BaseFileLock":
    """Return a lock among the processes that share the store's folder."""
    from filelock import FileLock

    folder = store.folder / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / key[:KEY_DIGITS], timeout=5 * PATIENCE)


@contextmanager
def publish_lock(client: "MlflowClient", store: Store, registry: str, key: str) -> Iterator[None]:
    """Hold a key alone: on this machine by a lock on a file, at a server by a claim as well.

    Args:
        client: of the store.
        store: where it is published.
        registry: name of the experiment's registered model.
        key: digest of what is published.
    """
    with file_lock(store, key):
        if not store.is_remote:
            yield
            return
        claim = Claim(client, f"{registry}.publishing.{key[:KEY_DIGITS]}", _holder(store))
        claim.acquire()
        try:
            yield
        finally:
            claim.release()


def _holder(store: Store) -> str:
    return f"{socket.gethostname()}:{store.folder}"


@dataclass
class Claim:
    """A claim at a server: a registered model, whose name is unique there.

    Whoever can create one of this name goes ahead. Its description says who that is, with a token
    that no two claims share. One that a killed publisher left is taken away by giving it a name
    with its token: that can be done once, so of two who want to, one finds that it was done, and
    neither takes away the claim that the other has made since.
    """

    client: "MlflowClient"
    name: str
    holder: str  # machine and folder: in one folder, the lock on a file says who goes ahead

    def __post_init__(self) -> None:
        self.token = secrets.token_hex(8)
        self.taken_away: list[str] = []

    def acquire(self) -> None:
        """Wait until the claim is ours."""
        begin = time.monotonic()
        seen = None
        seen_since = begin
        has_told = False
        while not self._create():
            now = time.monotonic()
            other = self._read()
            if other != seen:
                seen = other
                seen_since = now
            if other is None:
                continue  # it was released meanwhile
            holder, _, token = other.rpartition(" ")
            if holder == self.holder or now - seen_since > PATIENCE:
                self._take_away(token)
                continue
            if now - begin > TELL_AFTER and not has_told:
                has_told = True
                wait = f"waiting for {holder}, which publishes the same result"
                print(f"{wait} (at most {PATIENCE} s, if it was killed)", file=sys.stderr)
            time.sleep(POLL)

    def release(self) -> None:
        """Give the claim back, if it is ours still."""
        from mlflow import MlflowException

        with suppress(MlflowException):
            if self._read() == self._description:
                self.client.delete_registered_model(self.name)
        for name in self.taken_away:
            with suppress(MlflowException):
                self.client.delete_registered_model(name)

    @property
    def _description(self) -> str:
        return f"{self.holder} {self.token}"

    def _create(self) -> bool:
        """Return whether the claim is ours now."""
        description = self._description
        if not happened(self.client.create_registered_model, self.name, description=description):
            return False
        return self._read() == description

    def _read(self) -> str | None:
        """Return who has the claim; None if nobody does."""
        for claim in self.client.search_registered_models(f"name = '{self.name}'"):
            return claim.description or ""
        return None

    def _take_away(self, token: str) -> None:
        """Take away the claim with this token, unless somebody else did."""
        name = f"{self.name}.{token}"
        current = self._read()
        if current is None or current.rpartition(" ")[2] != token:
            return
        if happened(self.client.rename_registered_model, self.name, name):
            self.taken_away.append(name)


def happened(change: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    """Make a change in MLflow; return False if another made it, or took its object away."""
    from mlflow import MlflowException

    try:
        change(*arguments, **named)
    except MlflowException as error:
        if error.error_code not in (CREATED_BY_ANOTHER, GONE):
            raise
        return False
    return True
