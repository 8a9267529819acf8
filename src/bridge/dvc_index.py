"""Ask DVC how the stages hang together, and keep its answer: all that is private to DVC is here.

dvc.yaml has templates, so what it says is asked of DVC's index, which is no documented interface:
this file was made for DVC 3.67.1, and a test compares what it gives there. The question takes half
a second, so the answer is kept for as long as the files that it comes from stay the same.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bridge.errors import UserError
from bridge.files import atomic_write, digest, main_checkout, md5

MADE_FOR = "3.67.1"
KEPT_ANSWER = ".dvc/tmp/bridge.index.json"
PIPELINE_FILE = "dvc.yaml"
TEMPLATE = re.compile(r"\$\{(?!item|key)")  # a value that comes from elsewhere than a `foreach`


@dataclass(frozen=True)
class StageDeclaration:
    """A stage as dvc.yaml has it, templates filled in; paths are relative to the project."""

    lock: str  # path of its dvc.lock
    name: str  # in its dvc.yaml
    wdir: str
    deps: list[str]
    outs: list[str]
    params: list[str]  # paths of the files
    after: list[str]  # names of the stages that it comes directly after


@dataclass(frozen=True)
class CurveTable:
    """A table that is plotted: its columns `columns` over its column `x`; all if there are none."""

    path: str
    x: str
    columns: list[str]


@dataclass(frozen=True)
class Index:
    """What dvc.yaml says, and every other dvc.yaml of the project."""

    watched: list[str]  # paths of the files that this comes from
    stages: dict[str, StageDeclaration]  # in the order of dvc.yaml
    metrics: list[str]  # paths of the files
    curves: list[CurveTable]


@dataclass(frozen=True)
class _KeptAnswer:
    key: str  # hash of the files that it comes from
    index: Index


def load_index(root: Path) -> Index:
    """Return what dvc.yaml says.

    Raises:
        UserError: DVC cannot read a file.
    """
    path = main_checkout(root) / KEPT_ANSWER
    with suppress(OSError, msgspec.MsgspecError):
        kept = msgspec.json.decode(path.read_bytes(), type=_KeptAnswer)
        if kept.key == _key_of(root, kept.index.watched):
            return kept.index
    index = ask_dvc(root)
    answer = _KeptAnswer(_key_of(root, index.watched), index)
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(answer))
    return index


def _key_of(root: Path, watched: list[str]) -> str:
    return digest({file: md5(root / file) for file in watched})


def ask_dvc(root: Path) -> Index:
    """Return what DVC's own index says of the project.

    Raises:
        UserError: DVC cannot read a file, or is another than this was made for.
    """
    import dvc
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        return _read_index(Repo(str(root)), root)
    except DvcException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"DVC cannot read the pipeline: {reason}") from None
    except (AttributeError, TypeError, ImportError) as error:
        version = dvc.__version__
        if version == MADE_FOR:
            raise
        made = f"this bridge was made for DVC {MADE_FOR}, and DVC {version} is otherwise inside"
        raise UserError(f"{made} ({error}): pip install dvc=={MADE_FOR}") from None


def _read_index(repo: Any, root: Path) -> Index:
    graph = repo.index.graph
    stages = [stage for stage in graph if stage.path_in_repo.endswith(PIPELINE_FILE)]
    names = {stage: _name_of(stage) for stage in stages}
    declarations = {}
    metrics: list[str] = []
    curves: list[CurveTable] = []
    for stage, name in names.items():
        after = [names[maker] for maker in graph.successors(stage) if maker in names]
        declarations[name] = _declaration(stage, after, root)
        for out in stage.outs:
            path = _relative(out.fs_path, root)
            if out.metric:
                metrics.append(path)
            if out.plot:
                curves += _curve_tables(path, out.plot, ".")
    pipeline_files = {stage.path_in_repo: stage.dvcfile for stage in stages}
    watched = {*pipeline_files}
    for path, dvcfile in pipeline_files.items():
        folder = os.path.dirname(path)
        metrics += [inside(folder, metric) for metric in dvcfile.metrics]  # beside the stages
        curves += _plots_beside_stages(dvcfile, folder)
        if TEMPLATE.search((root / path).read_text("utf-8")):
            watched |= {_relative(file, root) for file in dvcfile.resolver.context.imports}
    return Index(sorted(watched), declarations, metrics, curves)


def _name_of(stage: Any) -> str:
    """Return the name by which `dvc repro` takes a stage, from the project's folder."""
    return f"{stage.path_in_repo}:{stage.name}".removeprefix(f"{PIPELINE_FILE}:")


def _declaration(stage: Any, after: list[str], root: Path) -> StageDeclaration:
    deps = []
    for dep in stage.deps:
        is_remote = "://" in dep.def_path
        deps.append(dep.def_path if is_remote else _relative(dep.fs_path, root))
    return StageDeclaration(
        lock=stage.path_in_repo.removesuffix("yaml") + "lock",
        name=stage.name,
        wdir=_relative(stage.wdir, root),
        deps=deps,
        outs=[_relative(out.fs_path, root) for out in stage.outs],
        params=[_relative(dep.fs_path, root) for dep in stage.params],
        after=after,
    )


def _plots_beside_stages(dvcfile: Any, folder: str) -> Iterator[CurveTable]:
    """Give the tables of the key `plots` at the top of a dvc.yaml."""
    for plot in dvcfile.plots:
        if isinstance(plot, dict):
            for path, properties in plot.items():
                yield from _curve_tables(path, properties, folder)


def _curve_tables(path: str, properties: Any, folder: str) -> Iterator[CurveTable]:
    """Give the tables of a plot that has a column x, in any of the ways that dvc.yaml may say it.

    Args:
        path: of the plot, which is no file where x or y are said by file.
        properties: what dvc.yaml says of the plot: a dict, or nothing.
        folder: that the paths are relative to.
    """
    if not isinstance(properties, dict):
        return
    x, y = properties.get("x"), properties.get("y")
    columns_by_file = y if isinstance(y, dict) else {path: y}
    for file, columns in columns_by_file.items():
        column = _x_of(file, x)
        if column:
            names = [columns] if isinstance(columns, str) else list(columns or [])
            yield CurveTable(inside(folder, file), column, names)


def _x_of(file: str, x: Any) -> str | None:
    """Return the column x of a file: that of the plot, or its own, or that of the first file."""
    if not isinstance(x, dict):
        return x
    return x.get(file) or next(iter(x.values()), None)


def _relative(path: str, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def inside(folder: str, path: str) -> str:
    """Return a path relative to the project that is given relative to a folder in it."""
    if "://" in path:
        return path
    return os.path.normpath(os.path.join(folder, path)).replace(os.sep, "/")
