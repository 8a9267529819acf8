"""Know the stages: as dvc.yaml declares them, and with the parameters and hashes of dvc.lock."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bridge.dvc_index import (
    CurveTable,
    Index,
    StageDeclaration,
    Values,
    command_text,
    inside,
    load_index,
    read_kept,
)
from bridge.errors import UserError
from bridge.files import flatten, md5, read
from bridge.names import Key

RECEIPT = "mlflow-bridge/receipt.json"  # the output of our own stage
RECEIPTS = (RECEIPT, "mlruns/receipt.json")  # and what it was before
NO_OUTPUTS = (
    "there is no result to publish: no stage in dvc.yaml writes anything; "
    "give the files that a stage writes to its outs, metrics or plots"
)
SHOWN_CHARACTERS = 60  # of a command in a message
SHOWN_PATHS = 5  # of several in a message

Hashes = dict[str, str | None]  # by path; None where DVC has none


@dataclass(frozen=True)
class StageLock:
    """A stage that has run, as dvc.lock has it; paths are relative to the project."""

    params: Values
    deps: Hashes
    outs: Hashes
    cmd: str = ""
    used: Values = field(default_factory=dict)  # by its templates; dvc.lock does not have them


class Pipeline:
    """The stages of a project without our own, by name, in the order of dvc.yaml.

    Attributes:
        root: folder of the project.
        files: each dvc.yaml, and the files that its templates take values from.
        declared: the stages as dvc.yaml has them.
        locks: those that have run, as dvc.lock has them.
        metrics: paths of the metrics files.
        curves: the tables that are plotted.
        params: the files of parameters that dvc.yaml names beside the stages.
        beside: all files that dvc.yaml names beside the stages.
        receipt: path of the output of our own stage.
        upstream: names of the stages that our own comes after, directly or not. Where our own is
            not in dvc.yaml, of all stages that write something, and of those before them: the same
            as if our own depended on all that is written.
    """

    def __init__(self, root: Path, index: Index | None = None) -> None:
        """Read dvc.lock and, unless its index is given, dvc.yaml; UserError if one is corrupted."""
        index = index or load_index(root)
        self.root = root
        self.files: list[str] = index.watched
        self.metrics: list[str] = index.metrics
        self.curves: list[CurveTable] = index.curves
        self.params: list[str] = index.params
        self.beside: list[str] = index.beside
        self.declared: dict[str, StageDeclaration] = {}
        self.receipt = RECEIPT
        self._own: tuple[str, StageDeclaration] | None = None
        before_ours: list[str] | None = None
        for name, stage in index.stages.items():
            receipts = [out for out in stage.outs if out in RECEIPTS]
            if receipts:
                self.receipt = receipts[0]
                self._own = name, stage
                before_ours = stage.after
            else:
                self.declared[name] = stage
        used = {name: stage.used for name, stage in self.declared.items()}
        self.locks = self.read_locks(self._lock_content, used)
        if before_ours is None:
            before_ours = [name for name, stage in self.declared.items() if stage.outs]
        self.upstream = self.trace(before_ours)

    def _lock_content(self, path: str) -> Any:
        return read_kept(self.root, path) if (self.root / path).exists() else {}

    def read_locks(
        self, content_of: Callable[[str], Any], used: dict[str, Values]
    ) -> dict[str, StageLock]:
        """Return the stages as dvc.lock has them, by name.

        Args:
            content_of: gives what a dvc.lock holds, by its path: now, or in a commit.
            used: what the templates of each stage took.

        Raises:
            UserError: it is corrupted.
        """
        entries: dict[str, dict[str, Any]] = {}
        locks = {}
        for name, stage in self.declared.items():
            try:
                if stage.lock not in entries:
                    content = content_of(stage.lock)
                    entries[stage.lock] = (content or {}).get("stages") or {}
                entry = entries[stage.lock].get(stage.name)
                if entry:
                    locks[name] = _parse_lock(stage.wdir, entry, used.get(name, {}))
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
            _check_declaration(name, self.declared[name], lock)
        self._check_deps(locks, outs)

    def _current_params(self, locks: Iterable[StageLock]) -> Values:
        """Return the values of now by file and name."""
        values: Values = {}
        for lock in locks:
            for file in lock.params:
                if file not in values:
                    values[file] = flatten(read(self.root / file))
        return values

    def _check_deps(self, locks: dict[str, StageLock], outs: Hashes) -> None:
        """Check that what stages read is what the others wrote: all of an output, or a part.

        So are files of parameters that dvc.yaml names beside the stages: their values are shown.
        """
        hash_now = cache(lambda path: md5(self.root / path))
        for name, lock in locks.items():
            for dep in overlapping_paths(lock.deps, outs):
                now = outs.get(dep) or hash_now(dep)
                if now and lock.deps[dep] != now:
                    raise UserError(f"{dep} was changed after stage {name} read it: run dvc repro")
            for dep in overlapping_paths(lock.deps, self.params):
                if dep not in outs and lock.deps[dep] != hash_now(dep):
                    raise UserError(f"{dep} was changed after stage {name} read it: run dvc repro")

    def check_own_deps(self, others: Iterable[str] = ()) -> None:
        """Check that our own stage comes after all that the others write now.

        Its deps stand in dvc.yaml as paths. Where templates give the outputs other paths, or a
        list has more items, our stage would run on what an earlier experiment has left there.

        Args:
            others: deps of our own stage that no other stage needs to know.

        Raises:
            UserError: our stage misses an output whose path comes from a template.
        """
        if self._own is None:
            return
        name, own = self._own
        deps = set(overlapping_paths(own.deps, [*others, *self._known_paths()]))
        orphans = set(own.deps) - deps
        missed: list[str] = []
        for group, outs in self._template_outs().items():
            if self._is_after_ours(group):
                continue
            absent = sorted(set(outs).difference(overlapping_paths(outs, own.deps)))
            is_followed = len(absent) < len(outs)
            for out in absent:
                if is_followed or _stands_for(out, orphans):
                    missed.append(out)
        if missed:
            lacks = f"the deps of stage {name} lack {_listed(missed)}, which other stages write now"
            advice = "add to dvc.yaml what is missing, with the same ${...} where a path has one"
            raise UserError(f"{lacks}: {advice}")

    def _known_paths(self) -> set[str]:
        """Return every path that a stage reads or writes."""
        paths: set[str] = set()
        for stage in self.declared.values():
            paths |= {*stage.deps, *stage.outs, *stage.params}
        return paths

    def _template_outs(self) -> dict[str, list[str]]:
        """Return the outputs whose paths come from templates, by stage, or by group of a list."""
        outs: dict[str, list[str]] = {}
        for name, stage in self.declared.items():
            if stage.has_template_outs:
                outs.setdefault(name.partition("@")[0], []).extend(stage.outs)
        return outs

    def _is_after_ours(self, group: str) -> bool:
        """Return whether a stage, or one of a list, reads what only our own stage writes."""
        for name, stage in self.declared.items():
            is_in_group = name.partition("@")[0] == group
            if is_in_group and self.receipt in stage.deps:
                return True
        return False

    def left_out(self) -> list[str]:
        """Return what dvc.yaml names beside the stages, and that no stage reads or writes.

        Nobody can say which result such a file belongs to: DVC does not bring it back with one.
        """
        if not self.beside:
            return []
        known = self._known_paths()
        unknown = set(self.beside).difference(overlapping_paths(self.beside, known))
        return [path for path in sorted(unknown) if os.path.exists(self.root / path)]


def _stands_for(out: str, orphans: set[str]) -> bool:
    """Return whether one of the paths may be that of an output before parameters were changed."""
    folder, name = os.path.split(out)
    for orphan in orphans:
        other_folder, other_name = os.path.split(orphan)
        has_suffix = os.path.splitext(name)[1] == os.path.splitext(other_name)[1]
        if name == other_name or (folder == other_folder and has_suffix):
            return True
    return False


def _check_declaration(name: str, stage: StageDeclaration, lock: StageLock) -> None:
    """Check that a stage has run as dvc.yaml says it now, its templates filled in."""
    advice = f"run dvc repro, or, if {name} is frozen, dvc unfreeze it first"
    if lock.cmd and stage.cmd != lock.cmd:
        now, then = _shorten(stage.cmd), _shorten(lock.cmd)
        reason = _used_names(stage.used)
        command = f"the command of stage {name} is {now} now, but the results were made by {then}"
        raise UserError(f"{reason}{command}: {advice}")
    change = _change("writes", stage.outs, lock.outs) or _change("reads", stage.deps, lock.deps)
    if change:
        raise UserError(f"stage {name} {change}, and has not run since: {advice}")


def _change(verb: str, now: list[str], then: Hashes) -> str:
    """Return what is new among the paths of a stage, or else what has gone; "" if neither."""
    new = set(now).difference(then)
    if new:
        return f"{verb} {_listed(sorted(new))} now"
    gone = then.keys() - now
    return f"{verb} {_listed(sorted(gone))} no longer" if gone else ""


def _used_names(used: Values) -> str:
    """Return which parameters a command has from templates, as the beginning of a message."""
    names = []
    for file, values in used.items():
        names += [f"{key} of {file}" for key in values]
    return f"parameters were changed ({_listed(names)}): " if names else ""


def _listed(names: list[str]) -> str:
    """Return names with commas between them; of many, the first ones."""
    more = len(names) - SHOWN_PATHS
    shown = ", ".join(names[:SHOWN_PATHS])
    return f"{shown} and {more} more" if more > 0 else shown


def _shorten(command: str) -> str:
    command = " ".join(command.split())
    if len(command) > SHOWN_CHARACTERS:
        command = f"{command[: SHOWN_CHARACTERS - 3]}..."
    return f'"{command}"'


def _check_params(stage: str, file: str, used: dict[str, Any], values: dict[str, Any]) -> None:
    """Check that a stage was run with the parameters of now."""
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
    """Return the paths that are one of the others, lie in one, or contain one."""
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
    paths = [path]
    while "/" in path:
        path = path.rpartition("/")[0]
        paths.append(path)
    return paths


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
        for values_by_file in (lock.used, lock.params):
            for file, values in values_by_file.items():
                for name, value in values.items():
                    params[file, name] = value
    return params


def values_at(stage: StageDeclaration, content_of: Callable[[str], Any]) -> Values:
    """Return what the templates of a stage took, as it is in a commit.

    Args:
        stage: as it is now.
        content_of: gives what a file holds in the commit, by its path.
    """
    found: Values = {}
    for file, values in stage.used.items():
        content = content_of(file)
        if file == stage.pipeline:
            content = _own_vars(content, stage.name)
        for key in values:
            value = _select(content, key)
            if value is not None:
                found.setdefault(file, {})[key] = value
    return found


def _own_vars(content: Any, name: str) -> dict[str, Any]:
    """Return the values that a dvc.yaml itself has below `vars`, for one of its stages."""
    stages = content.get("stages", {})
    stage = stages.get(name.partition("@")[0]) or {}
    stage = stage.get("do", stage)
    of_all, of_stage = content.get("vars") or [], stage.get("vars") or []
    values: dict[str, Any] = {}
    for entry in [*of_all, *of_stage]:
        if isinstance(entry, dict):
            values |= entry
    return values


def _select(content: Any, key: str) -> Any:
    """Return a value by its dotted name, in which numbers are places in lists; None without it."""
    for part in key.split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def _parse_lock(wdir: str, entry: dict[str, Any], used: Values) -> StageLock:
    """Return the entry of a stage in dvc.lock, whose paths are relative to the stage's folder."""
    params = {}
    for file, values in entry.get("params", {}).items():
        params[inside(wdir, file)] = flatten(values)
    deps = _parse_hashes(wdir, entry.get("deps", []))
    outs = _parse_hashes(wdir, entry.get("outs", []))
    cmd = entry.get("cmd")
    return StageLock(params, deps, outs, command_text(cmd) if cmd else "", used)


def _parse_hashes(wdir: str, parts: list[dict[str, Any]]) -> Hashes:
    """Return hashes by path; the hash of a remote file has another name than md5."""
    hashes = {}
    for part in parts:
        path = inside(wdir, part["path"])
        hashes[path] = part.get("md5") or part.get("etag") or part.get("checksum")
    return hashes
