"""See that one publisher at a time publishes a result, on this machine and at a server."""

import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from bridge.files import digest
from bridge.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CLAIM_TIMEOUT = 120  # seconds without a renewal, after which a claim counts as abandoned
RENEW_AFTER = 30  # seconds between the renewals of a claim
TELL_AFTER = 3  # seconds of waiting, after which a message says for whom
POLL = 0.2  # seconds
KEY_DIGITS = 16  # of what is locked, in names
CREATED_BY_ANOTHER = "RESOURCE_ALREADY_EXISTS"
GONE = "RESOURCE_DOES_NOT_EXIST"
GONE_MEANWHILE = "0 were matched"  # what the server's database says if two change one row at once


@contextmanager
def file_lock(store: Store, key: str) -> Iterator[Path]:
    """Hold a lock among the processes that share the store's folder; give the path of its file."""
    from filelock import FileLock, Timeout

    folder = store.folder / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / key[:KEY_DIGITS]
    lock = FileLock(path)
    try:
        lock.acquire(timeout=TELL_AFTER)
    except Timeout:
        print(f"waiting for another publisher on this machine ({path})", file=sys.stderr)
        lock.acquire(timeout=5 * CLAIM_TIMEOUT)
    try:
        yield path
    finally:
        lock.release()


@contextmanager
def publish_lock(client: "MlflowClient", store: Store, registry: str, key: str) -> Iterator[None]:
    """Hold a key alone: on this machine by a locked file, and where others reach it by a claim.

    Args:
        client: of the store.
        store: where it is published.
        registry: name of the experiment's registered model.
        key: digest of what is published.
    """
    with file_lock(store, key) as path:
        if store.file:
            yield
            return
        claim = Claim(
            client,
            name=f"{registry}~publishing~{key[:KEY_DIGITS]}",
            holder=f"{socket.gethostname()}:{store.folder}",
            note=path.with_name(f"{path.name}.claim"),
        )
        claim.acquire()
        try:
            with _renewing(claim):
                yield
        finally:
            claim.release()


@contextmanager
def _renewing(claim: "Claim") -> Iterator[None]:
    """Renew a claim while the block runs."""
    is_done = Event()

    def renew() -> None:
        while not is_done.wait(RENEW_AFTER):
            claim.renew()

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


@dataclass(frozen=True)
class State:
    """A claim as it is at the server."""

    description: str  # who has it, with a token that no two claims share
    renewed: int  # by the server's clock


@dataclass
class Claim:
    """A claim at a server: a registered model, whose name is unique there.

    1. Whoever can create one of this name, and then reads the own token in it, goes ahead.
    2. The others wait, as long as it is renewed.
    3. One that is not renewed was left by a publisher that was killed. It is taken away by giving
       it a name with a hash of its token. That can be done once: of two who want to, one finds that
       it was done, and neither takes away the claim that the other has made since.
    """

    client: "MlflowClient"
    name: str
    holder: str  # machine and folder
    note: Path  # keeps the token: what a killed publisher of this folder left is known by it
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    taken_away: list[str] = field(default_factory=list)

    @property
    def description(self) -> str:
        """The holder and the token."""
        return f"{self.holder} {self.token}"

    def acquire(self) -> None:
        """Wait until the claim is ours."""
        own_before = self.note.read_text() if self.note.exists() else None
        self.note.write_text(self.description)
        begin = seen_since = time.monotonic()
        seen = None
        is_told = False
        while True:
            apply_unless_raced(
                self.client.create_registered_model, self.name, description=self.description
            )
            # Looked at again, whatever that said: an answer may have been lost, or another may have
            # taken away what we made.
            current = self._read()
            if current is None:
                continue  # it was released meanwhile
            if current.description == self.description:
                return
            now = time.monotonic()
            if current != seen:
                seen, seen_since = current, now
            if current.description == own_before or now - seen_since > CLAIM_TIMEOUT:
                self._take_away(current)
                continue
            if now - begin > TELL_AFTER and not is_told:
                self._tell(current)
                is_told = True
            time.sleep(POLL)

    def renew(self) -> None:
        """Show that we are alive; unless it was taken away, when this machine slept, say."""
        from mlflow import MlflowException

        with suppress(MlflowException):
            if self._is_ours():
                self.client.update_registered_model(self.name, description=self.description)

    def release(self) -> None:
        """Give the claim back, if it is ours still."""
        from mlflow import MlflowException

        for name in self.taken_away:
            with suppress(MlflowException):
                self.client.delete_registered_model(name)
        with suppress(MlflowException):
            if self._is_ours():
                self.client.delete_registered_model(self.name)

    def _tell(self, other: State) -> None:
        holder = other.description.rpartition(" ")[0]
        patience = f"at most {CLAIM_TIMEOUT} s, if it was killed"
        print(f"waiting for {holder}, which publishes the same ({patience})", file=sys.stderr)

    def _is_ours(self) -> bool:
        current = self._read()
        return current is not None and current.description == self.description

    def _read(self, name: str = "") -> State | None:
        """Return the claim that is there, or what has another name; None if there is none."""
        for claim in self.client.search_registered_models(f"name = '{name or self.name}'"):
            return State(claim.description or "", claim.last_updated_timestamp)
        return None

    def _take_away(self, other: State) -> None:
        """Take away the claim of another, unless somebody else did."""
        name = f"{self.name}~{digest(other.description)[:KEY_DIGITS]}"
        if self._read() != other:
            return
        if not apply_unless_raced(self.client.rename_registered_model, self.name, name):
            return
        taken = self._read(name)
        if taken and taken.description != other.description:  # it was made since we looked
            apply_unless_raced(self.client.rename_registered_model, name, self.name)
        else:
            self.taken_away.append(name)


def apply_unless_raced(change: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    """Make a change in MLflow; return False if another made it, or took its object away."""
    from mlflow import MlflowException

    try:
        change(*arguments, **named)
    except MlflowException as error:
        is_known = error.error_code in (CREATED_BY_ANOTHER, GONE)
        if not is_known and GONE_MEANWHILE not in str(error):
            raise
        return False
    return True
