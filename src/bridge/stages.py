"""Know the stages: as dvc.yaml declares them, and with the parameters and hashes of dvc.lock."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.dvc_index import CurveTable, Index, StageDeclaration, inside, load_index
from bridge.errors import UserError
from bridge.files import flatten, md5, read
from bridge.names import Key

RECEIPT = "mlruns/receipt.json"  # the output of our own stage

Hashes = dict[str, str | None]  # by path; None where DVC has none


@dataclass(frozen=True)
class StageLock:
    """A stage that has run, as dvc.lock has it; paths are relative to the project."""

    params: dict[str, dict[str, Any]]  # by file, values by dotted name
    deps: Hashes
    outs: Hashes


class Pipeline:
    """The stages of a project without our own, by name, in the order of dvc.yaml.

    Attributes:
        root: folder of the project.
        files: each dvc.yaml, and the files that its templates take values from.
        declared: the stages as dvc.yaml has them.
        locks: those that have run, as dvc.lock has them.
        metrics: paths of the metrics files.
        curves: the tables that are plotted.
        upstream: names of the stages that our own comes after, directly or not; of all stages
            where our own is not in dvc.yaml.
    """

    def __init__(self, root: Path, index: Index | None = None) -> None:
        """Read dvc.lock and, unless its index is given, dvc.yaml; UserError if one is corrupted."""
        index = index or load_index(root)
        self.root = root
        self.files: list[str] = index.watched
        self.metrics: list[str] = index.metrics
        self.curves: list[CurveTable] = index.curves
        self.declared: dict[str, StageDeclaration] = {}
        before_ours: list[str] | None = None
        for name, stage in index.stages.items():
            if RECEIPT in stage.outs:
                before_ours = stage.after
            else:
                self.declared[name] = stage
        self.locks = self.read_locks(self._lock_text)
        self.upstream = self.trace(self.declared if before_ours is None else before_ours)

    def _lock_text(self, path: str) -> str:
        file = self.root / path
        return file.read_text("utf-8") if file.exists() else ""

    def read_locks(self, text_of: Callable[[str], str | None]) -> dict[str, StageLock]:
        """Return the stages as dvc.lock has them, by name.

        Args:
            text_of: gives what a dvc.lock holds, by its path: now, or in a commit.

        Raises:
            UserError: it is corrupted.
        """
        entries: dict[str, dict[str, Any]] = {}
        locks = {}
        for name, stage in self.declared.items():
            try:
                if stage.lock not in entries:
                    content = read(Path(stage.lock), text_of(stage.lock) or "")
                    entries[stage.lock] = (content or {}).get("stages") or {}
                entry = entries[stage.lock].get(stage.name)
                if entry:
                    locks[name] = _parse_lock(stage.wdir, entry)
            except (AttributeError, LookupError, TypeError, UnicodeDecodeError):
                advice = "delete it and run dvc repro, which writes it again from the cache"
                raise UserError(f"cannot use {stage.lock}: {advice}") from None
        return locks

    def declared_outs(self) -> list[str]:
        """Return the paths of all that the stages write."""
        outs: list[str] = []
        for stage in self.declared.values():
            outs += stage.outs
        return outs

    def trace(self, names: Iterable[str]) -> list[str]:
        """Return the names of these stages and of all upstream of them, in order."""
        found = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in self.declared and name not in found:
                found.add(name)
                pending += self.declared[name].after
        return [name for name in self.declared if name in found]

    def check_current(self, names: list[str]) -> None:
        """Check that these stages ran one after the other, with the parameters of now.

        Raises:
            UserError: a parameter was changed and not run, or a stage and not those after it.
        """
        locks = {name: self.locks[name] for name in names}
        values = self._current_params(locks.values())
        outs = outs_of(locks.values())
        for name, lock in locks.items():
            for file, used in lock.params.items():
                if file in values:
                    _check_params(name, file, used, values[file])
            self._check_deps(lock, outs)

    def _current_params(self, locks: Iterable[StageLock]) -> dict[str, dict[str, Any]]:
        """Return the values of now by file and name, of the files that DVC does not run."""
        values = {}
        for lock in locks:
            for file in lock.params:
                if file not in values and not file.endswith(".py"):
                    values[file] = flatten(read(self.root / file))
        return values

    def _check_deps(self, lock: StageLock, outs: Hashes) -> None:
        """Check that what a stage read is what the others wrote: all of an output, or a part."""
        for dep in overlapping_paths(lock.deps, outs):
            used = lock.deps[dep]
            now = outs.get(dep) or md5(self.root / dep) or used
            if now != used:
                raise UserError(f"{dep} is newer than what was made from it: run dvc repro")


def _check_params(stage: str, file: str, used: dict[str, Any], values: dict[str, Any]) -> None:
    """Check that the parameters that a stage used are those of now."""
    for key, value in used.items():
        given = values.get(key)
        is_indexed = "[" in key  # an item of a list: it is not among the dotted names
        if is_indexed or same_value(given, value):
            continue
        change = f"{file}: {key} is {given}, but the results were made with {value}"
        advice = f"run dvc repro, or, if {stage} is frozen, dvc unfreeze it first"
        raise UserError(f"{change}: {advice}")


def same_value(value: Any, other: Any) -> bool:
    """Return whether two parameters are the same; nan is the same as nan here."""
    return bool(value == other) or str(value) == str(other)


def overlapping_paths(paths: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return those of the paths that are one of the others, lie in one, or hold one."""
    others = set(others)
    folders: set[str] = set()
    for other in others:
        folders.update(_with_parents(other))
    overlapping = []
    for path in paths:
        if path in folders or not others.isdisjoint(_with_parents(path)):
            overlapping.append(path)
    return overlapping


def _with_parents(path: str) -> list[str]:
    """Return a path, and the folders that it lies in."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def deps_of(locks: Iterable[StageLock]) -> Hashes:
    """Return the hashes of all that stages read, by path."""
    deps: Hashes = {}
    for lock in locks:
        deps |= lock.deps
    return deps


def outs_of(locks: Iterable[StageLock]) -> Hashes:
    """Return the hashes of all that stages wrote, by path."""
    outs: Hashes = {}
    for lock in locks:
        outs |= lock.outs
    return outs


def params_of(locks: Iterable[StageLock]) -> dict[Key, Any]:
    """Return the parameters of stages, by (file, name)."""
    params = {}
    for lock in locks:
        for file, values in lock.params.items():
            for name, value in values.items():
                params[file, name] = value
    return params


def _parse_lock(wdir: str, entry: dict[str, Any]) -> StageLock:
    """Return the entry of a stage in dvc.lock, whose paths are relative to the stage's folder."""
    params = {}
    for file, values in entry.get("params", {}).items():
        params[inside(wdir, file)] = flatten(values)
    deps = _parse_hashes(wdir, entry.get("deps", []))
    outs = _parse_hashes(wdir, entry.get("outs", []))
    return StageLock(params, deps, outs)


def _parse_hashes(wdir: str, parts: list[dict[str, Any]]) -> Hashes:
    """Return hashes by path; those of a remote file have other names than md5."""
    hashes = {}
    for part in parts:
        path = inside(wdir, part["path"])
        hashes[path] = part.get("md5") or part.get("etag") or part.get("checksum")
    return hashes
