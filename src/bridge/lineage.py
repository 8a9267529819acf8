"""Know where a result comes from, and how it differs from what is committed."""

import getpass
import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from bridge.dvc_index import Values
from bridge.errors import UserError
from bridge.files import cached_object, digest, flatten, ignored_by_dvc, main_checkout, read
from bridge.git import Git
from bridge.names import by_display_name
from bridge.results import Result, is_in_project, locks_of
from bridge.settings import FILE
from bridge.stages import (
    Hashes,
    Pipeline,
    StageLock,
    deps_of,
    outs_of,
    overlapping_paths,
    params_of,
    same_value,
    values_at,
)
from bridge.store import redact_address


@dataclass(frozen=True)
class Lineage:
    """Where the results come from that are in the checkout now."""

    root: Path
    commit: str | None  # of Git; None where Git does not say it
    dirty: str  # "true", "false", or "unknown" where Git does not answer
    git_refusal: str  # what Git says instead of an answer
    experiment: str | None  # name of the DVC experiment; None outside of `dvc exp run`
    source: str  # address of the repository without secrets, or name of its folder
    user: str
    committed: dict[str, StageLock] = field(default_factory=dict)  # of the commit's dvc.lock
    changed_stages: frozenset[str] = frozenset()  # whose parameters the commit's files do not have

    def changed_params(self, result: Result) -> dict[str, tuple[Any, Any]]:
        """Return the parameters that are not as in the commit: by name, value and committed."""
        committed = params_of(locks_of(result.stage_names, self.committed))
        before = by_display_name(committed, result.settings.names)
        changed = {}
        for name, value in result.params.items():
            if name in before and value != before[name]:
                changed[name] = value, before[name]
        return changed

    def is_committed(self, result: Result) -> bool:
        """Return whether the commit's dvc.lock has this very result."""
        files = {**result.data, **result.hashes}
        return files.items() <= self._hashes.items() and not self.changed_params(result)

    def is_of_commit(self, result: Result) -> bool:
        """Return whether the commit, run again, gives this result."""
        if self.is_committed(result):
            return True
        return self.dirty == "false" and self.changed_stages.isdisjoint(result.stage_names)

    def committed_metrics(self, result: Result) -> dict[str, float]:
        """Return the metrics of the result in the commit, if Git or the cache has them."""
        return result.load_numbers(self._committed_content).metrics

    def _committed_content(self, path: str) -> Any:
        """Return what a file holds in the commit; {} where neither Git nor DVC's cache has it."""
        text = Git(self.root).file_at(self.commit, path) if self.commit else None
        if not text:
            text = self._cached_text(path)
        return read(Path(path), text) if text else {}

    def _cached_text(self, path: str) -> str | None:
        """Return a file of the commit from DVC's cache, if that lies where it usually does."""
        hashed = self._hashes.get(path)
        if not hashed:
            return None
        with suppress(OSError, UnicodeDecodeError):
            return cached_object(self.root, hashed).read_text("utf-8-sig")
        return None

    def committed_data_digest(self, result: Result) -> str | None:
        """Return, of the commit, what `Result.compared_on` is; None where Git has no dvc.lock."""
        paths = result.settings.champion.on if result.settings.champion else []
        hashes = self._hashes
        if not hashes.keys() >= set(paths):
            return None
        return digest([hashes[path] for path in paths])

    @property
    def _hashes(self) -> Hashes:
        """The hashes of the commit's dvc.lock, by path."""
        locks = self.committed.values()
        return deps_of(locks) | outs_of(locks)


def load_lineage(pipeline: Pipeline) -> Lineage:
    """Return where the results of the checkout come from."""
    git = Git(pipeline.root)
    head = git.head()
    commit = os.environ.get("DVC_EXP_BASELINE_REV") or head.text
    return Lineage(
        root=pipeline.root,
        commit=commit,
        dirty=_dirty(git, pipeline),
        git_refusal=head.complaint,
        experiment=os.environ.get("DVC_EXP_NAME"),
        source=_source(git, pipeline.root),
        user=_user(),
        committed=_committed_locks(git, commit, pipeline),
        changed_stages=_changed_stages(git, commit, pipeline),
    )


def _source(git: Git, root: Path) -> str:
    """Return the address of the repository without its secrets, or the name of its folder."""
    remote = git.remote()
    if remote is None or ":" not in remote:  # none, or a folder of this machine
        return main_checkout(root).name
    return redact_address(remote)


def _dirty(git: Git, pipeline: Pipeline) -> str:
    """Return whether a file that the stages start from is not as in the commit.

    Not to know it is not the same as clean. What .dvcignore hides in the project is no input: DVC
    does not see it.
    """
    changed = git.changed_paths(_inputs(pipeline))
    if changed is None:
        return "unknown"
    is_ignored = ignored_by_dvc(pipeline.root)
    for path in changed:
        if not (is_in_project(path) and is_ignored(path)):
            return "true"
    return "false"


def _inputs(pipeline: Pipeline) -> list[str]:
    """Return the paths that Git must know for the results to be got again."""
    used: set[str] = set()
    for lock in pipeline.locks.values():
        used.update(lock.params, lock.deps)
    written = overlapping_paths(used, pipeline.declared_outs())
    inputs = used.difference(written)
    added = {f"{path}.dvc" for path in inputs}  # Git knows by these what `dvc add` keeps
    return sorted({*inputs, *added, *pipeline.files, FILE})


def _committed_locks(git: Git, commit: str | None, pipeline: Pipeline) -> dict[str, StageLock]:
    if not commit:
        return {}
    with suppress(UserError):  # that of the commit is corrupted: it is as if there were none
        used = _committed_used(git, commit, pipeline)
        return pipeline.read_locks(cache(partial(_content_at, git, commit)), used)
    return {}


def _committed_used(git: Git, commit: str, pipeline: Pipeline) -> dict[str, Values]:
    """Return what the templates of each stage took in the commit."""
    content_of = cache(partial(_content_at, git, commit))
    used = {}
    for name, stage in pipeline.declared.items():
        used[name] = values_at(stage, content_of)
    return used


def _changed_stages(git: Git, commit: str | None, pipeline: Pipeline) -> frozenset[str]:
    """Return the stages that ran with other parameters than the commit's files have.

    Parameters in Python files are left out: Git says whether such a file was changed.
    """
    if not commit:
        return frozenset()
    values_of = cache(partial(_params_at, git, commit))
    committed = _committed_used(git, commit, pipeline)
    changed = set()
    for name, lock in pipeline.locks.items():
        if lock.used != committed[name]:
            changed.add(name)
        for file, used in lock.params.items():
            is_python = file.endswith(".py")
            if not is_python and not _has_params(values_of(file), used):
                changed.add(name)
    return frozenset(changed)


def _params_at(git: Git, commit: str, file: str) -> dict[str, Any]:
    return flatten(_content_at(git, commit, file))


def _content_at(git: Git, commit: str, file: str) -> Any:
    """Return what a file holds in a commit; {} where it is missing or broken."""
    with suppress(UserError):
        text = git.file_at(commit, file)
        return read(Path(file), text) if text else {}
    return {}


def _has_params(values: dict[str, Any], used: dict[str, Any]) -> bool:
    """Return whether a file has these parameters; items of lists are not among its names."""
    for name, value in used.items():
        is_indexed = "[" in name
        if not is_indexed and not same_value(values.get(name), value):
            return False
    return True


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):  # a container's user may have no name
        return getpass.getuser()
    return ""
