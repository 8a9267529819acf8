"""What DVC knows of the stages: their parameters, files and hashes, out of dvc.lock: enough to know a result by.

How the stages hang together, and which outputs are metrics and plots, is in dvc.yaml, with its templates: DVC itself
is asked. That takes half a second, so the answer is kept as long as the files that it comes from stay the same.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import UserError
from bridge.files import atomic_write, digest, flat, main_checkout, md5, read

RECEIPT = "mlruns/receipt.json"  # the output of our own stage
MEMO = ".dvc/tmp/bridge.stages.json"


@dataclass(frozen=True)
class Stage:
    """A stage that has run, as dvc.lock has it; paths are relative to the project."""

    params: dict[str, dict]  # by file, values by dotted name
    deps: dict[str, str]  # hashes by path
    outs: dict[str, str]


class Pipeline:
    """The stages of the project but our own, by name, in the order of dvc.yaml; UserError if DVC cannot read a file."""

    def __init__(self, root):
        asked = _declared(root)
        self.files = asked["watched"]  # each dvc.yaml, and what its templates take values from
        self.declared = asked[
            "stages"
        ]  # lock (file), name, wdir, deps, outs, params (files), after (names of stages)
        self.metrics = asked["metrics"]  # paths of the files
        self.curves = asked[
            "curves"
        ]  # of the tables that are plots, path, column x, columns y (all if empty)
        own = [
            self.declared.pop(name)
            for name, of in [*self.declared.items()]
            if RECEIPT in of["outs"]
        ]
        # Of those that have run, a `Stage`; and names of those that our own comes after, directly or not, or else all.
        self.stages = self.locked(
            lambda file: (root / file).read_text("utf-8") if (root / file).exists() else ""
        )
        self.upstream = self.trace(own[0]["after"] if own else self.declared)

    def locked(self, text_of):
        """The stages as dvc.lock has them, by name; text_of(path) gives what a dvc.lock holds."""
        locks, found = {}, {}
        for name, of in self.declared.items():
            file = of["lock"]
            try:
                if file not in locks:
                    locks[file] = (read(Path(file), text_of(file) or "") or {}).get("stages") or {}
                if entry := locks[file].get(of["name"]):
                    found[name] = _stage(of["wdir"], entry)
            except (AttributeError, LookupError, TypeError, UnicodeDecodeError):
                advice = "delete it and run dvc repro, which makes it anew from the cache"
                raise UserError(f"cannot use {file}: {advice}") from None
        return found

    def trace(self, names):
        """The stages of these names, and all upstream of them."""
        found, todo = set(), [*names]
        while todo:
            name = todo.pop()
            if name in self.declared and name not in found:
                found.add(name)
                todo += self.declared[name]["after"]
        return [name for name in self.declared if name in found]

    def check(self, names, root):
        """UserError unless these stages ran one after the other, with the parameters that are there now."""
        files = {file for name in names for file in self.stages[name].params}
        now = {file: flat(read(root / file)) for file in files if not file.endswith(".py")}
        outs = {path: hash for name in names for path, hash in self.stages[name].outs.items()}
        made = {*meeting([dep for name in names for dep in self.stages[name].deps], outs)}
        for name in names:
            for file, used in self.stages[name].params.items():
                for key in used if file in now else ():
                    given = now[file].get(key)
                    if (
                        "[" not in key and given != used[key] and str(given) != str(used[key])
                    ):  # nan is not nan
                        told = f"{file}: {key} is {given}, but the results were made with {used[key]}: run dvc repro"
                        raise UserError(f"{told}, or, if {name} is frozen, dvc unfreeze it first")
            for dep, used in self.stages[name].deps.items():  # of all of an output, or of a part
                if dep in made and used != (outs.get(dep) or md5(root / dep) or used):
                    raise UserError(f"{dep} is newer than what was made from it: run dvc repro")


def meeting(paths, others):
    """Those of the paths that are one of the others, lie in one of them, or hold one of them."""
    others, around = {*others}, {place for other in others for place in _places(other)}
    return [path for path in paths if path in around or not others.isdisjoint(_places(path))]


def _places(path):
    """A path, and the folders that it lies in."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def params_of(stages):
    """The parameters of the stages, by (file, name)."""
    return {
        (file, key): v
        for stage in stages
        for file, values in stage.params.items()
        for key, v in values.items()
    }


def _placed(wdir, path):
    """A path that is relative to a stage's folder, relative to the project."""
    return (
        path if "://" in path else os.path.normpath(os.path.join(wdir, path)).replace(os.sep, "/")
    )


def _stage(wdir, entry):
    def hashes(kind):
        parts = {_placed(wdir, part["path"]): part for part in entry.get(kind, [])}
        return {
            path: part.get("md5") or part.get("etag") or part.get("checksum")
            for path, part in parts.items()
        }

    params = {_placed(wdir, file): flat(values) for file, values in entry.get("params", {}).items()}
    return Stage(params, hashes("deps"), hashes("outs"))


def _declared(root):
    """What dvc.yaml says, resolved: see `_ask_dvc`."""
    memo = main_checkout(root) / MEMO

    def key(watched):
        return digest({file: md5(root / file) for file in watched})

    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = json.loads(memo.read_text())
        if kept["key"] == key(kept["watched"]):
            return kept
    asked = _ask_dvc(root)
    with atomic_write(memo) as temporary:
        temporary.write_text(json.dumps(asked | {"key": key(asked["watched"])}))
    return asked


def _ask_dvc(root):
    """What a `Pipeline` is made of, by DVC's index of the stages, which is no documented interface: a test pins it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    def placed(path):
        return os.path.relpath(path, root).replace(os.sep, "/")

    stages, metrics, curves = {}, [], []
    try:
        graph = Repo(str(root)).index.graph
        ours = [
            stage for stage in graph if stage.path_in_repo.endswith("dvc.yaml")
        ]  # not those of `dvc add`
        names = {
            stage: f"{stage.path_in_repo}:{stage.name}".removeprefix("dvc.yaml:") for stage in ours
        }
        for stage, name in names.items():
            outs = {placed(out.fs_path): out for out in stage.outs}
            stages[name] = {
                "lock": stage.path_in_repo.removesuffix("yaml") + "lock",
                "name": stage.name,
                "wdir": placed(stage.wdir),
                "deps": [
                    dep.def_path if "://" in dep.def_path else placed(dep.fs_path)
                    for dep in stage.deps
                ],
                "outs": [*outs],
                "params": [placed(dep.fs_path) for dep in stage.params],
                "after": [names[maker] for maker in graph.successors(stage) if maker in names],
            }
            metrics += [path for path, out in outs.items() if out.metric]
            curves += [
                table
                for path, out in outs.items()
                if out.plot
                for table in _tables(path, out.plot, ".")
            ]
        files = {stage.path_in_repo: stage.dvcfile for stage in ours}
        watched = {*files}
        for file, dvcfile in files.items():
            folder = os.path.dirname(file)
            metrics += [
                _placed(folder, path) for path in dvcfile.metrics
            ]  # what stands beside the stages
            for plot in dvcfile.plots:
                for path, of in plot.items() if isinstance(plot, dict) else ():
                    curves += _tables(path, of, folder)
            if re.search(r"\$\{(?!item|key)", (root / file).read_text("utf-8")):
                watched |= {placed(path) for path in dvcfile.resolver.context.imports}
    except DvcException as error:
        raise UserError(f"DVC cannot read the pipeline: {str(error).splitlines()[0]}") from None
    return {"watched": sorted(watched), "stages": stages, "metrics": metrics, "curves": curves}


def _tables(path, of, folder):
    """A plot's files with their columns x and y, in any of the ways that dvc.yaml may say them."""
    x, y = (of.get("x"), of.get("y")) if isinstance(of, dict) else (None, None)
    for file, columns in (y if isinstance(y, dict) else {path: y}).items():
        column = x.get(file, next(iter(x.values()))) if isinstance(x, dict) else x
        if column:
            yield (
                _placed(folder, file),
                column,
                [columns] if isinstance(columns, str) else columns or [],
            )
