"""What DVC knows of the stages: their parameters, files and hashes, out of dvc.lock.

That is enough to know a result by. Which outputs are metrics and plots is not in it, nor the folder
that a stage works in: DVC itself is asked for these. That takes a third of a second, so the answer
is kept as long as dvc.yaml and the names in dvc.lock stay the same.
"""

import json
import os
from dataclasses import dataclass, field

from bridge.errors import UserError
from bridge.files import digest, flat, main_checkout, md5, read, replacing

RECEIPT = "mlruns/receipt.json"  # the output of our own stage
MEMO = ".dvc/tmp/bridge.json"


@dataclass(frozen=True)
class Stage:
    """A stage as dvc.lock has it; paths are relative to the project."""

    params: dict[str, dict] = field(default_factory=dict)  # by file, values by dotted name
    deps: dict[str, str] = field(default_factory=dict)  # hashes by path
    outs: dict[str, str] = field(default_factory=dict)


class Pipeline:
    """The stages that have run, by name, in the order of dvc.yaml.

    stages: dict of Stage.
    upstream: names of those that our own stage depends on, directly or not.
    metrics: paths of the metrics files.
    curves: of the tables that are plots, path, name of the column x, names of the columns y.

    Raises:
        UserError: nothing has run yet, or a file of DVC's cannot be read.
    """

    def __init__(self, root):
        if not (root / "dvc.lock").exists():
            raise UserError("there is no dvc.lock, so there is no result to publish: run dvc repro first")
        declared = _declared(root)
        self.metrics, self.curves = declared["metrics"], declared["curves"]
        locks = {file: _locked(_lock_of(root, file)) for file in declared["files"]}
        self.stages, own = {}, None
        for name, of in declared["stages"].items():
            if RECEIPT in of["outs"]:
                own = of["deps"]
            elif entry := locks[of["file"]].get(of["name"]):
                wdir = of["wdir"]
                self.stages[name] = Stage(
                    {_placed(wdir, file): flat(values) for file, values in entry.get("params", {}).items()},
                    {_placed(wdir, dep["path"]): _hash(dep) for dep in entry.get("deps", [])},
                    {_placed(wdir, out["path"]): _hash(out) for out in entry.get("outs", [])},
                )
        self.upstream = self.trace([*self.stages] if own is None else self.makers(own))

    def makers(self, paths):
        """The stages that write one of these paths, something in it, or the folder that it lies in."""
        outs = [(out, name) for name, stage in self.stages.items() for out in stage.outs]
        return [name for out, name in outs if any(meet(out, path) for path in paths)]

    def trace(self, names):
        """The stages of these names, and all upstream of them."""
        found, todo = set(), list(names)
        while todo:
            if (name := todo.pop()) not in found:
                found.add(name)
                todo.extend(self.makers(self.stages[name].deps))
        return [name for name in self.stages if name in found]

    def check(self, names, root):
        """Makes sure that these stages ran one after the other, with the parameters that are there now.

        Raises:
            UserError: a parameter was changed since, or a stage has not run since.
        """
        files = {file for name in names for file in self.stages[name].params}
        now = {file: flat(read(root / file)) for file in files if not file.endswith(".py")}
        for name in names:
            for file, used in self.stages[name].params.items():
                for key in used if file in now else ():
                    if "[" not in key and now[file].get(key) != used[key]:
                        raise UserError(
                            f"{file}: {key} is {now[file].get(key)}, but the results were made with {used[key]}:"
                            f" run dvc repro, or, if {name} is frozen, dvc unfreeze it first"
                        )
            for dep, used in self.stages[name].deps.items():
                for maker in self.makers([dep]):  # of all of it, or of a part
                    if used != (self.stages[maker].outs.get(dep) or md5(root / dep)):
                        raise UserError(f"{dep} is newer than what was made from it: run dvc repro")


def meet(one, other):
    """Whether two paths are the same, or one lies in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _hash(entry):
    return entry.get("md5") or entry.get("etag") or entry.get("checksum")


def _placed(wdir, path):
    """A path that is relative to a stage's folder, relative to the project."""
    return path if "://" in path else os.path.normpath(os.path.join(wdir, path)).replace(os.sep, "/")


def _lock_of(root, file):
    return (root / file).with_name("dvc.lock")


def _locked(path):
    content = read(path) if path.exists() else {}
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict | None):
        raise UserError(f"cannot use {path.name}: delete it and run dvc repro, which makes it anew from the cache")
    return stages or {}


def _declared(root):
    """What dvc.yaml says, resolved: see `_ask_dvc`."""
    memo = main_checkout(root) / MEMO

    def key(files):
        names = [
            [name, *([part["path"] for part in stage.get(kind, [])] for kind in ("deps", "outs"))]
            for file in files
            for name, stage in _locked(_lock_of(root, file)).items()
        ]
        return digest([[md5(root / file) for file in files], names])

    try:
        kept = json.loads(memo.read_text())
        if kept["key"] == key(kept["files"]):
            return kept
    except (OSError, ValueError, LookupError, TypeError):
        pass
    asked = _ask_dvc(root)
    with replacing(memo) as temporary:
        temporary.write_text(json.dumps(asked | {"key": key(asked["files"])}))
    return asked


def _ask_dvc(root):
    """By DVC's own index of the stages, which is no documented interface: a test pins it.

    Returns:
        A dict: files (each dvc.yaml), stages (by address: file, name, wdir, deps, outs), metrics
        and curves as of `Pipeline`.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    def placed(path):
        return os.path.relpath(path, root).replace(os.sep, "/")

    files, stages, metrics, curves = {}, {}, [], []
    try:
        for stage in Repo(str(root)).index.stages:
            if not stage.path_in_repo.endswith("dvc.yaml"):  # one of `dvc add`
                continue
            files[stage.path_in_repo] = stage.dvcfile
            outs = {placed(out.fs_path): out for out in stage.outs}
            stages[stage.addressing] = {
                "file": stage.path_in_repo,
                "name": stage.name,
                "wdir": placed(stage.wdir),
                "deps": [placed(dep.fs_path) for dep in stage.deps],
                "outs": list(outs),
            }
            metrics += [path for path, out in outs.items() if out.metric]
            curves += [(path, out.plot, path) for path, out in outs.items() if isinstance(out.plot, dict)]
        for file, dvcfile in files.items():  # what stands beside the stages
            folder = os.path.dirname(file)
            metrics += [_placed(folder, path) for path in dvcfile.metrics]
            for plot in dvcfile.plots:
                for path, of in plot.items() if isinstance(plot, dict) else ():
                    curves.append((_placed(folder, path), of or {}, folder))
    except DvcException as error:
        raise UserError(f"DVC cannot read the pipeline: {str(error).splitlines()[0]}") from None
    tables = [table for path, of, folder in curves for table in _tables(path, of, folder)]
    return {"files": list(files), "stages": stages, "metrics": metrics, "curves": tables}


def _tables(path, of, folder):
    """A plot's files with their columns x and y, in any of the ways that dvc.yaml may say them."""
    x, y = of.get("x"), of.get("y")
    by_file = y if isinstance(y, dict) else {path: y}
    for file, columns in by_file.items():
        place = _placed(folder, file) if file != path else path
        column = next(iter(x.values()), None) if isinstance(x, dict) and len(x) == 1 else x
        if isinstance(x, dict) and file in x:
            column = x[file]
        if isinstance(column, str) and columns:
            yield place, column, [columns] if isinstance(columns, str) else list(columns)
