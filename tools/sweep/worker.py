"""Run one experiment of a sweep, in a clone of the worker's own.

This file is sent to the workers of a Dask cluster, with guard.py and warm.py. There may be
nothing of this project there yet, so it imports nothing but the standard library.
"""

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import guard
import warm

# DVC's message while another worker writes into the run cache that they share.
HALF_WRITTEN = r"/runs/\w+/\w+/\.[\w-]+\.tmp|join\(\) argument must be .* not 'NoneType'"
TRIES = 5  # it may happen at each stage that experiments have in common

# The warm process of each clone.
_warm: dict[Path, warm.WarmPython] = {}


@dataclass(frozen=True)
class Job:
    """What all experiments of a sweep have in common."""

    commit: str  # that all of them start from
    repository: str  # to clone from, and to push experiments to
    folder: str  # of the clones
    environment: dict[str, str]  # added to the worker's own
    cache: str | None  # folder of DVC's cache; None: each clone has its own
    push: bool  # whether data go to DVC's remote

    @property
    def experiments(self) -> str:
        """The prefix of the experiments' Git references."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}"


class Failed(Exception):
    """A command failed; says why."""


class Killed(Failed):
    """A command was killed: another try may succeed."""


def run_experiment(name: str, values: dict[str, str], job: Job) -> str | None:
    """Run one experiment, and push it to the repository that the clone came from.

    Args:
        name: of the experiment.
        values: by key, for `dvc exp run -S`.
        job: what it has in common with others.

    Returns:
        None, or why the experiment failed.
    """
    reason = None
    for _ in range(TRIES):
        with free_clone(job) as clone:
            try:
                clone.prepare()
                clone.run_experiment(name, values)
                clone.push(name)
            except Killed as error:
                reason = str(error)
                close_warm(clone.path)
                continue
            except Failed as error:
                return str(error)
            clone.busy.unlink()
            return None
    return reason


def close_warm(path: Path | None = None) -> None:
    """End the warm process of a clone, or of all clones, with everything that it has started."""
    for clone in [path] if path else list(_warm):
        if clone in _warm:
            _warm.pop(clone).close()


@dataclass(frozen=True)
class Clone:
    """A clone of the repository that runs one experiment after another."""

    path: Path
    lock: IO[Any]  # held while it is in use, also by the commands that run in it
    job: Job

    @property
    def busy(self) -> Path:
        """The mark of a clone in which something runs, was interrupted or has failed."""
        return self.path.with_suffix(".busy")

    def prepare(self) -> None:
        """Bring the clone up to date; make it first if it is missing or cannot be used again."""
        if self.busy.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        self.busy.touch()
        if not self.path.exists():
            clone = ("git", "clone", "--quiet", self.job.repository, str(self.path))
            self.run(*clone, folder=self.path.parent)
            if self.job.cache:
                config = self.path / ".dvc" / "config.local"
                config.write_text(f"[cache]\n    dir = {self.job.cache}\n")
        self.run("git", "fetch", "--quiet", "origin")

    def run_experiment(self, name: str, values: dict[str, str]) -> None:
        """Run the experiment, again and again while other workers disturb it."""
        settings = []
        for key, value in values.items():
            settings += ["-S", f"{key}={value}"]
        for remaining in reversed(range(TRIES)):
            try:
                self.run("git", "checkout", "--quiet", "--force", "--detach", self.job.commit)
                self.dvc("exp", "run", "--name", name, *settings)
                return
            except Killed:
                raise
            except Failed as error:
                if not remaining or not re.search(HALF_WRITTEN, str(error)):
                    raise
            # By now the other worker has finished writing. DVC does not replace files that are not
            # in its cache yet, so they are removed.
            self.run("git", "clean", "-dfxq", "--exclude=/.dvc")

    def push(self, name: str) -> None:
        """Push the data, and then the experiment: one that is there is complete."""
        if self.job.push:
            self.dvc("push")
        reference = f"{self.job.experiments}/{name}"
        try:
            self.run("git", "push", "--quiet", "origin", reference)
        except Failed as error:
            if not self._is_pushed(reference):
                raise error from None
        self.run("git", "update-ref", "-d", reference)

    def _is_pushed(self, reference: str) -> bool:
        """Return whether another worker, which was taken for dead, has pushed the experiment."""
        try:
            self.run("git", "ls-remote", "--exit-code", "origin", reference)
        except Failed:
            return False
        return True

    def run(self, *command: str, folder: Path | None = None) -> None:
        """Run a command that ends with this process; in the clone unless a folder is given."""
        with (
            tempfile.TemporaryFile() as output,
            subprocess.Popen(
                [sys.executable, "-E", guard.__file__, *command],
                cwd=folder or self.path,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[self.lock.fileno()],
                start_new_session=True,  # Ctrl-C is for the sweep to handle
            ) as process,
        ):
            code = process.wait()
            output.seek(0)
            check(command, code, output.read())

    def dvc(self, *arguments: str) -> None:
        """Run a command of DVC in a fork of the warm process."""
        if self.path not in _warm:
            _warm[self.path] = warm.WarmPython()
        environment = self._environment()
        script = shutil.which("dvc", path=environment["PATH"])
        if script is None:
            raise Failed("DVC is not installed beside the worker's Python")
        with tempfile.TemporaryFile() as output:
            code = _warm[self.path].run(
                [script, *arguments],
                self.path,
                _warm[self.path].environment(environment),
                [output, output, self.lock],
            )
            output.seek(0)
            check(("dvc", *arguments), code, output.read())

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, **self.job.environment}
        ours = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join([ours, environment.get("PATH", os.defpath)])
        environment["GIT_TERMINAL_PROMPT"] = "0"  # fail instead of waiting for a password
        return environment


@contextmanager
def free_clone(job: Job) -> Iterator[Clone]:
    """Yield the first unused clone of the folder, locked."""
    folder = Path(job.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for index in itertools.count():
        path = folder / str(index)
        with path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield Clone(path, lock, job)
            return


def check(command: tuple[str, ...], code: int, output: bytes) -> None:
    """Raise Failed, with what the command said, unless its exit code is 0."""
    if code == 0:
        return
    start = " ".join(command[:3])
    if code < 0:
        raise Killed(f"{start} was killed by signal {-code}")
    text = output.decode(errors="replace")
    found = re.search(r"^(?:error|fatal): *(.*)", text, re.MULTILINE | re.IGNORECASE)
    raise Failed(found[1] if found else f"{start} failed: {text.strip()[-300:]}")
