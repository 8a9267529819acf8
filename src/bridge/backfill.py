"""Publish earlier results: of DVC experiments, and of commits.

Each is brought back from Git and from DVC's cache in a folder of its own, beside the folders of
DVC's experiments. So nothing in the checkout changes, nothing is run, and the store is that of
the checkout. The settings (mlflow.yaml) are those of the experiment or commit.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.database import complete_runs
from bridge.errors import UserError
from bridge.files import main_checkout
from bridge.git import Git
from bridge.results import Result, load_results
from bridge.settings import load_settings
from bridge.stages import Pipeline
from bridge.store import PublishedRun, configured_store
from bridge.tracking import track

FOLDER = ".dvc/tmp/exps/bridge"  # in it, the bridge finds the store of the main checkout
EXPERIMENT_NAME = "DVC_EXP_NAME"  # the variable that DVC sets for the stages of an experiment
SHORT_COMMIT = 7  # characters


@dataclass(frozen=True)
class Snapshot:
    """A state of the project that is in Git."""

    commit: str
    head: str  # the commit that the results are said to be made from
    experiment: str | None = None  # name of the DVC experiment

    @property
    def title(self) -> str:
        """What it is called in the list that is printed."""
        return self.experiment or self.commit[:SHORT_COMMIT]


def publish_snapshots(root: Path, *, all_commits: bool) -> None:
    """Publish the results of every DVC experiment, and print a line for each.

    What cannot be published is left out, with the reason.

    Args:
        root: of the project.
        all_commits: whether the results of all commits are published, too, before the experiments.

    Raises:
        UserError: there is no Git, or the store is unreachable or refuses.
    """
    git = Git(root)
    if git.head().text is None:
        raise UserError("the project is in no Git repository with a commit: there is no experiment")
    snapshots = []
    if all_commits:
        snapshots += [Snapshot(commit, commit) for commit in git.commits()]
    for found in git.experiments():
        snapshots.append(Snapshot(found.commit, found.baseline, found.name))
    if not snapshots:
        print("there is no DVC experiment; the results of commits are published by --all-commits")
    known: set[str] = set()
    for snapshot in snapshots:
        _publish_snapshot(git, snapshot, known)


def _publish_snapshot(git: Git, snapshot: Snapshot, known: set[str]) -> None:
    """Publish the results of one snapshot, and print what came of it.

    Args:
        git: of the project.
        snapshot: to publish.
        known: what dvc.lock and mlflow.yaml held in the commits that were published; it grows.
    """
    content = _content(git, snapshot.commit)
    if snapshot.experiment is None and content in known:
        return  # most commits change no result
    try:
        runs = _track(git, snapshot)
    except UserError as error:
        reason = str(error).partition("\n")[0]
        print(f"{snapshot.title:16} left out: {reason}", flush=True)
        if reason.startswith("cannot publish to"):
            raise UserError("the store does not take them: the others are not tried") from None
        return
    known.add(content)
    for name, run in runs:
        state = "published" if run.new else "was there"
        print(f"{snapshot.title:16} {state:10} {name} {run.run_id}", flush=True)


def _content(git: Git, commit: str) -> str:
    """Return what the results of a commit come from: the IDs of these files in Git."""
    listed = git.ask("ls-tree", "-r", "-z", commit).text or ""
    files = ("dvc.lock", "dvc.yaml", "mlflow.yaml")
    return "\0".join(line for line in listed.split("\0") if line.endswith(files))


def _track(git: Git, snapshot: Snapshot) -> list[tuple[str, PublishedRun]]:
    """Return the runs of a snapshot's results, which are published if they were not."""
    if "dvc.lock" not in _content(git, snapshot.commit):
        raise UserError("it has no dvc.lock: nothing had run")
    with _checked_out(git, snapshot) as root, _named(snapshot.experiment):
        pipeline = Pipeline(root)
        settings = load_settings(root)
        store = configured_store(root, settings.experiment or main_checkout(root).name)
        results = load_results(pipeline, settings)
        known_runs = complete_runs(store, results)
        for result in results:
            if result.digest not in known_runs:
                _check_there(result)
        return track(pipeline, settings, store)


def _check_there(result: Result) -> None:
    """Raise UserError where a file is not there: DVC's cache does not have it."""
    for path in result.missing_files():
        reason = f"neither Git nor DVC's cache has {path}"
        advice = "dvc fetch --all-commits gets what a remote has"
        raise UserError(f"{reason} ({advice}; with cache: false, only Git can have it)")


@contextmanager
def _named(experiment: str | None) -> Iterator[None]:
    """Set the variable with the name of the experiment, as DVC does where it runs one."""
    before = os.environ.pop(EXPERIMENT_NAME, None)
    if experiment:
        os.environ[EXPERIMENT_NAME] = experiment
    try:
        yield
    finally:
        os.environ.pop(EXPERIMENT_NAME, None)
        if before is not None:
            os.environ[EXPERIMENT_NAME] = before


@contextmanager
def _checked_out(git: Git, snapshot: Snapshot) -> Iterator[Path]:
    """Give the project's folder in a clone that has the files of a snapshot; it is removed."""
    parent = main_checkout(git.root) / FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(parent)
    folder = parent / f"{os.getpid()}-{snapshot.commit}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield _clone(git, snapshot, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(parent: Path) -> None:
    """Remove the clones of processes that were killed."""
    for folder in parent.iterdir():
        with suppress(ValueError, PermissionError):  # no process ID, or another user's process
            try:
                os.kill(int(folder.name.partition("-")[0]), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)


def _clone(git: Git, snapshot: Snapshot, folder: Path) -> Path:
    """Clone the repository, and bring back the files of a snapshot; return the project's folder."""
    repository, prefix = git.top(), git.prefix()
    if repository is None:
        raise UserError("Git does not say where the repository is")
    # The clone shares the objects, so the commits of experiments are there, too.
    _ask(git, "clone", "--quiet", "--shared", "--no-checkout", repository, str(folder))
    clone = Git(folder)
    _ask(clone, "checkout", "--quiet", "--detach", snapshot.commit)
    # As in an experiment that DVC runs: HEAD is what it was run from, the files are its own.
    _ask(clone, "reset", "--quiet", "--mixed", snapshot.head)
    address = git.remote()
    if address:
        _ask(clone, "remote", "set-url", "origin", address)
    else:
        _ask(clone, "remote", "remove", "origin")
    root = folder / prefix
    if not (root / ".dvc").is_dir():
        raise UserError("it is no DVC project there")
    _share_cache(main_checkout(git.root), root)
    _dvc(root, "checkout", "--quiet", "--force")  # what the cache does not have is missing then
    return root


def _ask(git: Git, *command: str) -> None:
    answer = git.ask(*command)
    if answer.text is None:
        raise UserError(f"git {command[0]}: {answer.complaint}")


def _share_cache(main: Path, root: Path) -> None:
    """Let a clone use the settings of the checkout that are not in Git, and its cache."""
    settings = main / ".dvc/config.local"
    if settings.exists():
        shutil.copyfile(settings, root / ".dvc/config.local")
    cache = _dvc(main, "cache", "dir").strip()
    _dvc(root, "config", "--quiet", "--local", "cache.dir", str((main / cache).resolve()))


def _dvc(root: Path, *command: str) -> str:
    """Return what a command of DVC prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.stdout
