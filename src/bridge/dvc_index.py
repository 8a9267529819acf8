"""Ask DVC how the stages hang together, and keep its answer: all that is private to DVC is here.

dvc.yaml has templates, so what it says is asked of DVC's index, which is no documented interface:
this file was made for DVC 3.67.1, and a test compares what it gives there. The question takes half
a second, so the answer is kept for as long as the files that it comes from stay the same.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bridge.atomic import atomic_write
from bridge.errors import UserError
from bridge.files import IMAGES, digest, flatten, main_checkout, md5, read
from bridge.versions import check_versions

MADE_FOR = "3.67.1"
KEPT_ANSWER = ".dvc/tmp/bridge.index"
KEPT_LOCK = ".dvc/tmp/bridge.lock"
ANSWER_FORMAT = 2  # an answer that an older bridge has kept is not used
LONG_LOCK = 20_000  # bytes: a shorter one is parsed as fast as a kept one is found
PIPELINE_FILE = "dvc.yaml"
TEMPLATE = re.compile(r"\$\{(?!\s*(item|key)\b)")  # a value from elsewhere than a `foreach`
MORE_THAN_ITEM = re.compile(r"\$\{(?!\s*(item|key)\s*\})")  # more than a stage's name has
LINE_TEMPLATES = (None, "linear", "simple", "smooth")  # of plots that are drawn over the rows
# Keys of a stage that say what it does; of those in PATHS, only the paths and not how it is shown.
ACTIONS = {"cmd", "deps", "outs", "params", "metrics", "plots", "wdir"}
PATHS = {"outs", "metrics", "plots"}

Values = dict[str, dict[str, Any]]  # by file and dotted name


@dataclass(frozen=True)
class StageDeclaration:
    """A stage as dvc.yaml has it, templates filled in; paths are relative to the project."""

    lock: str  # path of its dvc.lock
    name: str  # in its dvc.yaml
    wdir: str
    deps: list[str]  # without the files of parameters
    outs: list[str]
    params: list[str]  # paths of the files
    after: list[str]  # names of the stages that it comes directly after
    cmd: str = ""
    used: Values = field(default_factory=dict)  # what its templates took, other than the item
    has_template_cmd: bool = False  # with more in it than the item of a `foreach`
    has_template_outs: bool = False  # so their paths change with parameters
    templates: dict[str, str] = field(default_factory=dict)  # by path, where ours can follow it

    @property
    def pipeline(self) -> str:
        """The path of its dvc.yaml."""
        return self.lock.removesuffix("lock") + "yaml"

    @property
    def item(self) -> str:
        """The item of a `foreach` or `matrix` stage; "" for any other."""
        return self.name.partition("@")[2]


@dataclass(frozen=True)
class CurveTable:
    """A table that is plotted: its columns `columns` over its column `x`.

    No columns are all of them. No x is the column of steps, or the number of the row.
    """

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
    params: list[str] = field(default_factory=list)  # those said beside the stages
    beside: list[str] = field(default_factory=list)  # all files that are said beside the stages
    places: list[str] = field(default_factory=list)  # where another dvc.yaml may appear


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
        kept = msgspec.msgpack.decode(path.read_bytes(), type=_KeptAnswer)
        if kept.key == _key_of(root, kept.index):
            return kept.index
    check_versions()
    index = ask_dvc(root)
    answer = _KeptAnswer(_key_of(root, index), index)
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.msgpack.encode(answer))
    return index


def _key_of(root: Path, index: Index) -> str:
    paths = [*index.watched, *index.places]
    files = {path: md5(root / path) for path in paths}
    return digest([ANSWER_FORMAT, files])


def read_kept(root: Path, path: str) -> Any:
    """Return what a dvc.lock holds; that of a long one is kept, as YAML takes a while to parse.

    Raises:
        UserError: it is broken.
    """
    file = root / path
    if file.stat().st_size < LONG_LOCK:
        return read(file)
    kept = main_checkout(root) / KEPT_LOCK
    key = f"{path} {md5(file)}"
    with suppress(OSError, ValueError, TypeError, msgspec.MsgspecError):
        kept_key, content = msgspec.msgpack.decode(kept.read_bytes())
        if kept_key == key:
            return content
    content = read(file)
    with suppress(OverflowError, ValueError, TypeError, msgspec.MsgspecError):
        encoded = msgspec.msgpack.encode([key, content])
        if msgspec.msgpack.decode(encoded) == [key, content]:  # a date, say, would become a text
            with atomic_write(kept) as temporary:
                temporary.write_bytes(encoded)
    return content


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
        made = f"this bridge was written for DVC {MADE_FOR}; DVC {version} has other internals"
        raise UserError(f"{made} ({error}): pip install dvc=={MADE_FOR}") from None


def _read_index(repo: Any, root: Path) -> Index:
    graph = repo.index.graph
    stages = [stage for stage in graph if stage.path_in_repo.endswith(PIPELINE_FILE)]
    names = {stage: _name_of(stage) for stage in stages}
    pipelines = {stage.path_in_repo: stage.dvcfile for stage in stages}
    templates = _read_templates(pipelines, root)
    declarations = {}
    metrics: list[str] = []
    curves: list[CurveTable] = []
    for stage, name in names.items():
        after = [names[maker] for maker in graph.successors(stage) if maker in names]
        template = templates.get((stage.path_in_repo, stage.name), _StageTemplates())
        declarations[name] = _declaration(stage, after, template, root)
        for out in stage.outs:
            path = inside(declarations[name].wdir, out.def_path)
            if out.metric:
                metrics.append(path)
            if out.plot:
                curves += _curve_tables(path, out.plot, ".")
    beside = _read_beside_stages(repo, root)
    watched = beside.files.union(pipelines, _imported_files(pipelines, root))
    return Index(
        watched=sorted(watched),
        places=sorted(_places_of_pipelines(declarations) - watched),
        stages=declarations,
        metrics=list(dict.fromkeys([*metrics, *beside.metrics])),
        curves=[*curves, *beside.curves],
        params=beside.params,
        beside=beside.paths,
    )


def _name_of(stage: Any) -> str:
    """Return the name by which `dvc repro` takes a stage, from the project's folder."""
    return f"{stage.path_in_repo}:{stage.name}".removeprefix(f"{PIPELINE_FILE}:")


def _declaration(
    stage: Any, after: list[str], templates: "_StageTemplates", root: Path
) -> StageDeclaration:
    wdir = _relative(stage.wdir, root)
    params = [_relative(dep.fs_path, root) for dep in stage.params]
    outs = [inside(wdir, out.def_path) for out in stage.outs]
    of_params = set(map(id, stage.params))
    deps = []
    for dep in stage.deps:
        if id(dep) not in of_params:
            deps.append(inside(wdir, dep.def_path))
    return StageDeclaration(
        lock=stage.path_in_repo.removesuffix("yaml") + "lock",
        name=stage.name,
        wdir=wdir,
        cmd=command_text(stage.cmd),
        deps=deps,
        outs=outs,
        params=params,
        after=after,
        used=templates.used,
        has_template_cmd=templates.has_template_cmd,
        has_template_outs=templates.has_template_outs,
        templates=templates.paths,
    )


def command_text(cmd: Any) -> str:
    """Return a stage's command, or its list of commands, as lines."""
    return "\n".join(map(str, cmd)) if isinstance(cmd, list) else str(cmd)


def _places_of_pipelines(stages: dict[str, StageDeclaration]) -> set[str]:
    """Return where another dvc.yaml may appear: DVCLive writes one beside its files."""
    folders = {"dvclive"}
    for stage in stages.values():
        folders.update(map(os.path.dirname, stage.outs))
    return {inside(folder, PIPELINE_FILE) for folder in folders if "://" not in folder}


def _imported_files(pipelines: dict[str, Any], root: Path) -> set[str]:
    """Return the files that templates take values from."""
    files = set()
    for path, dvcfile in pipelines.items():
        if not TEMPLATE.search((root / path).read_text("utf-8")):
            continue
        resolver = dvcfile.resolver
        for file in resolver.context.imports:
            files.add(_relative(file, root))
        for definition in resolver.definitions.values():
            files |= _imported_by_stage(path, definition)
    return files


def _imported_by_stage(path: str, definition: Any) -> set[str]:
    """Return the files of the key `vars` of one stage."""
    content = _raw_stage(definition)
    folder = inside(os.path.dirname(path), content.get("wdir") or ".")
    files = set()
    for entry in content.get("vars") or []:
        if isinstance(entry, str):
            file = entry.partition(":")[0]
            files.add(inside(folder, file))
    return files


def _raw_stage(definition: Any) -> dict[str, Any]:
    """Return a stage as it stands in dvc.yaml; of a `foreach`, what lies below `do`."""
    content = getattr(definition, "_template", None)
    return dict(definition.definition if content is None else content)


@dataclass
class _StageTemplates:
    """What the templates of a stage took."""

    used: Values = field(default_factory=dict)
    has_template_cmd: bool = False
    has_template_outs: bool = False
    paths: dict[str, str] = field(default_factory=dict)  # see _path_templates

    def add(self, node: Any, pipeline: str, root: Path) -> None:
        """Note a value that was taken, if it has a name of its own somewhere."""
        source, key = node.meta.source, node.meta.path()
        if not source or not key or _is_item(node):
            return
        file = pipeline if node.meta.local else _relative(source, root)
        for name, value in flatten(node.value, key).items():
            self.used.setdefault(file, {})[name] = value


def _is_item(node: Any) -> bool:
    """Return whether a value is an item of a list: the stage is named after it."""
    return bool(node.meta.dpaths[-1].isdecimal())


def _read_templates(
    pipelines: dict[str, Any], root: Path
) -> dict[tuple[str, str], _StageTemplates]:
    """Return what the templates of each stage took, by dvc.yaml and name of the stage."""
    found = {}
    for path, dvcfile in pipelines.items():
        if "${" not in (root / path).read_text("utf-8"):
            continue
        resolver = dvcfile.resolver
        for name in resolver.get_keys():
            found[path, name] = _read_stage_templates(resolver, name, path, root)
    return found


def _read_stage_templates(resolver: Any, name: str, path: str, root: Path) -> _StageTemplates:
    """Return what the templates of one stage took.

    DVC's own list has what is used in descriptions, too, and neither what dvc.yaml itself says
    below `vars` nor whole dicts; so the stage is resolved again, and what it takes is noted.
    """
    templates = _StageTemplates()
    with _noting(templates, path, root):
        resolver.resolve_one(name)
    definition = resolver.definitions[name.partition("@")[0]]
    foreach = getattr(definition, "foreach_data", None)
    matrix = getattr(definition, "matrix_data", None)
    if TEMPLATE.search(f"{foreach} {matrix}"):
        templates.has_template_outs = True
    if path == PIPELINE_FILE and not foreach and not matrix:
        templates.paths = _path_templates(definition, resolver.context)
    return templates


def _path_templates(definition: Any, context: Any) -> dict[str, str]:
    """Return templates by the path that they give now, of outputs and files of parameters.

    Only those that mean the same in another stage of this dvc.yaml, in the project's folder. A name
    that is known to this stage alone, by its own `vars`, is not known to the other.
    """
    from dvc.exceptions import DvcException
    from dvc.parsing.interpolate import to_str

    content = _raw_stage(definition)
    folder = content.get("wdir") or "."
    paths = {}
    for key in (*PATHS, "params"):
        for text in _without_properties(content.get(key) or []):
            template = inside(folder, text)
            if "${" not in template:
                continue
            if template.count("${") != f"{folder}{text}".count("${"):
                template = f"{folder}/{text}"  # "${a}/../b" is not "b" where a has a slash
            with suppress(DvcException):
                path = to_str(context.resolve_str(template))
                paths[inside(".", path)] = template
    return paths


@contextmanager
def _noting(templates: _StageTemplates, pipeline: str, root: Path) -> Iterator[None]:
    """Note what stages take that DVC resolves meanwhile."""
    from dvc.parsing import EntryDefinition
    from dvc.parsing.context import Context, Node

    resolve, track = EntryDefinition._resolve, Context._track_data

    def resolve_and_note(self: Any, context: Any, value: Any, key: str, skip_checks: bool) -> Any:
        if key not in ACTIONS:
            return value
        value = _without_properties(value) if key in PATHS else value
        if key == "cmd" and MORE_THAN_ITEM.search(str(value)):
            templates.has_template_cmd = True
        if key in PATHS and TEMPLATE.search(str(value)):
            templates.has_template_outs = True
        return resolve(self, context, value, key, skip_checks)

    def note(self: Any, node: Any) -> None:
        if self._track and isinstance(node, Node):
            templates.add(node, pipeline, root)

    EntryDefinition._resolve, Context._track_data = resolve_and_note, note
    try:
        yield
    finally:
        EntryDefinition._resolve, Context._track_data = resolve, track


def _without_properties(outs: Any) -> Any:
    """Return the paths of outputs, which may have properties below them."""
    if not isinstance(outs, list):
        return outs
    paths = []
    for out in outs:
        has_properties = isinstance(out, dict) and out
        paths.append(next(iter(out)) if has_properties else out)
    return paths


@dataclass
class _Beside:
    """What stands beside the stages, at the top of any dvc.yaml."""

    files: set[str] = field(default_factory=set)  # each dvc.yaml
    metrics: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    curves: list[CurveTable] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)  # of all that is said

    def add_plot(self, path: str, properties: Any, folder: str) -> None:
        """Add a plot of the dvc.yaml in a folder."""
        self.curves += _curve_tables(path, properties, folder)
        for file in _files_of_plot(path, properties):
            self.paths.append(inside(folder, file))


def _read_beside_stages(repo: Any, root: Path) -> _Beside:
    index = repo.index
    found = _Beside()
    for file in {**index._metrics, **index._plots, **index._params}:
        path = _relative(file, root)
        folder = os.path.dirname(path)
        found.files.add(path)
        metrics = [inside(folder, metric) for metric in index._metrics.get(file, [])]
        params = [inside(folder, name) for name in index._params.get(file, [])]
        found.metrics += metrics
        found.params += params
        found.paths += [*metrics, *params]
        for plot in index._plots.get(file, []):
            plots = plot if isinstance(plot, dict) else {plot: None}
            for name, properties in plots.items():
                found.add_plot(name, properties, folder)
    return found


def _files_of_plot(path: str, properties: Any) -> list[str]:
    """Return the files of a plot: its path, or those that y names."""
    y = (properties or {}).get("y")
    return list(y) if isinstance(y, dict) else [path]


def _curve_tables(path: str, properties: Any, folder: str) -> Iterator[CurveTable]:
    """Give the tables of a plot, in any of the ways that dvc.yaml may say it.

    Args:
        path: of the plot, which is no file where x or y are said by file.
        properties: what dvc.yaml says of the plot: a dict, or nothing.
        folder: that the paths are relative to.
    """
    if not isinstance(properties, dict):
        properties = {}
    x, y = properties.get("x"), properties.get("y")
    is_line = properties.get("template") in LINE_TEMPLATES
    columns_by_file = y if isinstance(y, dict) else {path: y}
    for file, columns in columns_by_file.items():
        column = _x_of(file, x)
        is_image = os.path.splitext(file)[1].lower() in IMAGES
        if column or (is_line and not is_image):
            names = [columns] if isinstance(columns, str) else list(columns or [])
            yield CurveTable(inside(folder, file), column or "", names)


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
