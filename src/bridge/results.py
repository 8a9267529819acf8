"""Know a result, which is what one run in MLflow shows: the parameters and hashes of dvc.lock."""

import fnmatch
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.dvc_index import CurveTable
from bridge.errors import UserError
from bridge.files import (
    cached_object,
    digest,
    files_in,
    flatten,
    is_picture,
    md5,
    read,
    read_table,
    size_of,
)
from bridge.names import Key, by_display_name, name_parts
from bridge.settings import FILE, Settings
from bridge.stages import (
    NO_OUTPUTS,
    Hashes,
    Pipeline,
    StageLock,
    deps_of,
    outs_of,
    overlapping_paths,
    params_of,
)

# What a stage depends on, but no data: the settings of the project, and code.
CODE = {".py", ".ipynb", ".sh", ".r", ".jl", ".sql"}
CONFIGURATION = {"", ".toml", ".yaml", ".yml", ".lock", ".cfg", ".ini", ".md", ".txt"}
NO_DATA = CODE | CONFIGURATION
STEP = "step"  # the column that DVC takes where a plot does not say which is x
ROW = "(row)"  # the number of the row, where there is none


@dataclass(frozen=True)
class Numbers:
    """The numbers of a result, by the names that MLflow shows."""

    metrics: dict[str, float]
    curves: dict[str, dict[int, float]]  # values by step; without a metric that ends them
    final_steps: dict[str, int] = field(default_factory=dict)  # of metrics that end a curve
    other_ends: list[str] = field(default_factory=list)  # metrics that are not what a curve ends in


@dataclass(frozen=True)
class StepImage:
    """A picture that MLflow shows at a step, with a slider where there are several."""

    name: str
    step: int
    path: Path


@dataclass(frozen=True)
class Result:
    """One result, and where in the project it lies.

    The digest is that of the result alone: new pictures of it (another resolution, say) belong to
    the run that is there. So a stage that writes nothing but pictures has no part in it, nor do its
    parameters.
    """

    run: str  # the item of `foreach`; "" where the pipeline has one result
    root: Path
    settings: Settings  # for this run
    stage_names: list[str]  # all that it was made by
    params: dict[str, Any]
    hashes: Hashes  # by path, of its files
    pictures: Hashes  # by path, of its pictures
    data: Hashes  # by path, of its data set
    compared_on: str  # digest of the data that mlflow.yaml names for the champion
    metric_files: list[str]
    curves: list[CurveTable]
    digest: str
    pictures_digest: str
    items: dict[str, str] = field(default_factory=dict)  # of `foreach` stages, by output

    def load_numbers(self, content_of: Callable[[str], Any] | None = None) -> Numbers:
        """Return the metrics and the curves.

        Args:
            content_of: gives what a metrics file holds, by its path; else it is read.

        Raises:
            UserError: a file cannot be read, a curve of mlflow.yaml is none, or two have one name.
        """
        metrics = self._load_metrics(content_of or self._read)
        curves = self._load_curves()
        beginnings = self.settings.names
        return _attach_final_values(
            by_display_name(metrics, beginnings, self._name_parts),
            by_display_name(curves, beginnings, self._name_parts),
        )

    def _read(self, path: str) -> Any:
        file = self.root / path
        return read(file) if file.exists() else {}  # what dvc.yaml says beside the stages may lack

    def _name_parts(self, file: str) -> list[str]:
        """Return what stands in front of the names of the values in a file."""
        outs = overlapping_paths(self.items, [file])
        item = self.items[outs[0]] if outs else ""
        tables = overlapping_paths(_paths_of(self.curves), [file])
        folder = max(tables, key=len, default="")
        return name_parts(file, folder, item, self.run)

    def _load_metrics(self, content_of: Callable[[str], Any]) -> dict[Key, float]:
        metrics = {}
        for path in _files_of(self.metric_files, self.root):
            values = flatten(content_of(path), separator="/")
            for key, value in values.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    metrics[path, key] = float(str(value))  # infinite where it is too large
        return metrics

    def _load_curves(self) -> dict[Key, dict[int, float]]:
        """Return the points of each curve.

        If a table is declared twice, the more precise declaration counts.
        """
        curves: dict[Key, dict[int, float]] = {}
        for table in sorted(self.curves, key=_precision):
            for file in files_in(self.root / table.path):
                path = _path_of(file, self.root)
                for column, points in self._curves_in(file, table).items():
                    curves[path, column] = points
        return curves

    def _curves_in(self, file: Path, table: CurveTable) -> dict[str, dict[int, float]]:
        """Return the curves of one file by column; UserError if one of mlflow.yaml is none."""
        curves = {}
        rows, x = _with_steps(read_table(file), table.x)
        for column in table.columns or _other_columns(rows, x):
            points = points_of(rows, x, column)
            if points:
                curves[column] = points
            elif table.path in self.settings.curves:
                wanted = f"{table.path} has no numbers {column} by growing whole {x}"
                raise UserError(f"{FILE}: curves: {wanted}")
        return curves

    def images(self) -> list[StepImage]:
        """Return the images with steps.

        A single picture has the step 0, one in a folder the step that it is named after.

        Raises:
            UserError: a picture in a folder is not named after a step.
        """
        images = []
        for name, path in self.settings.images.items():
            folder = self.root / path
            if not folder.is_dir():
                images.append(StepImage(name, 0, folder))
                continue
            for file in files_in(folder):
                if not file.stem.isdecimal():
                    wrong = f"{file.name} in {path} is not named after its step, as 10.png is"
                    raise UserError(f"{FILE}: images: {wrong}")
                images.append(StepImage(name, int(file.stem), file))
        return images

    def kept_files(self) -> list[str]:
        """Return the paths of the outputs and pictures that are kept with the run."""
        paths = [*self.hashes, *self.pictures]
        return [path for path in paths if is_in_project(path) and self._is_kept(path)]

    def _is_kept(self, path: str) -> bool:
        if self.settings.files:
            return any(fnmatch.fnmatch(path, pattern) for pattern in self.settings.files)
        if path in self.settings.images.values():
            return False
        return size_of(self.root / path) <= self.settings.max_bytes

    def missing_files(self) -> list[str]:
        """Return the paths of outputs and pictures in the project that are not there."""
        missing = []
        for path in self.hashes | self.pictures:
            if is_in_project(path) and not (self.root / path).exists():
                missing.append(path)
        return missing

    def check_files(self) -> None:
        """Check that every file is what its stage wrote.

        One outside of the project is read only if it has numbers: experiments share it.

        Raises:
            UserError: one is not.
        """
        with_numbers = {*self.metric_files, *_paths_of(self.curves)}
        files = self.hashes | self.pictures
        for path, locked in files.items():
            is_read = is_in_project(path) or path in with_numbers
            if locked and is_read:
                self._check_file(path, locked)

    def _check_file(self, path: str, locked: str) -> None:
        """Raise UserError unless a file has the hash that dvc.lock has."""
        found = md5(self.root / path)
        if found == locked:
            return
        if found is None:
            raise UserError(f"{path} is missing: run dvc pull or dvc repro, which bring it back")
        changed = f"{path} is not what its stage wrote (dvc.lock): run dvc repro"
        if not cached_object(self.root, locked).exists():
            raise UserError(changed)
        cached = f"the object {locked[:2]}/{locked[2:]} of DVC's cache is corrupted"
        raise UserError(f"{changed}. If it says so again, {cached}: delete it")


def is_in_project(path: str) -> bool:
    """Return whether a path is in the project: DVC knows outputs elsewhere, too."""
    return _is_local(path) and not path.startswith(("/", "../"))


def _is_local(path: str) -> bool:
    return "://" not in path


def _path_of(file: Path, root: Path) -> str:
    """Return the path of a file as DVC has it: relative to the project, or absolute."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()


def _files_of(paths: list[str], root: Path) -> list[str]:
    """Return the paths of files, each once; a folder is replaced by the files in it."""
    found: list[str] = []
    for path in paths:
        for file in files_in(root / path):
            found.append(_path_of(file, root))
    return list(dict.fromkeys(found))


def _paths_of(tables: list[CurveTable]) -> list[str]:
    return [table.path for table in tables]


def _precision(table: CurveTable) -> tuple[bool, int]:
    """Return how precise a declaration is: with an x, and of a file, not of its folder."""
    return bool(table.x), len(table.path)


def _attach_final_values(metrics: dict[str, float], curves: dict[str, dict[int, float]]) -> Numbers:
    """Return the numbers; a metric that has the name of a curve is the last point of that curve."""
    final_steps = {}
    other_ends = []
    for name in metrics.keys() & curves.keys():
        last = max(curves[name])
        if curves[name][last] == metrics[name]:
            del curves[name][last]
            final_steps[name] = last
        else:
            other_ends.append(name)
            final_steps[name] = last + 1
    return Numbers(metrics, curves, final_steps, sorted(other_ends))


def _with_steps(rows: list[dict[str, Any]], x: str) -> tuple[list[dict[str, Any]], str]:
    """Return the rows with a column of steps, and the name of that column."""
    if x or not rows:
        return rows, x
    if points_of(rows, STEP, STEP):
        return rows, STEP
    numbered = []
    for place, row in enumerate(rows):
        numbered.append({**row, ROW: place})
    return numbered, ROW


def _other_columns(rows: list[dict[str, Any]], x: str) -> list[str]:
    """Return the columns of a table but its column x, and those without a name."""
    if not rows:
        return []
    return [column for column in rows[0] if column and column != x]


def points_of(rows: list[dict[str, Any]], x: str, y: str) -> dict[int, float] | None:
    """Return the numbers of a column by step; an empty cell is no point.

    None where there are words, as in the table of a confusion matrix, or where the steps are not
    whole numbers that grow.
    """
    points = {}
    previous = float("-inf")
    try:
        for row in rows:
            if row[y] in ("", None):
                continue
            step, value = float(row[x]), float(row[y])
            if not step.is_integer() or step <= previous:
                return None
            points[int(step)] = value
            previous = step
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return points


def load_results(pipeline: Pipeline, settings: Settings) -> list[Result]:
    """Return a result for each item of the stages that mlflow.yaml names, or one of all stages.

    Raises:
        UserError: a stage has not run, or mlflow.yaml names stages or files that are not there.
    """
    code = settings.model.code if settings.model else []
    here = os.path.relpath(Path(__file__).resolve().parent, pipeline.root)
    pipeline.check_own_deps([FILE, here.replace(os.sep, "/"), *code])
    if pipeline.declared and not pipeline.declared_outs():
        raise UserError(NO_OUTPUTS)
    if not pipeline.upstream:
        reason = "dvc.yaml has none, or none that writes a dep of ours"
        raise UserError(f"there are no stages to publish: {reason}")
    stages = {}
    for run, asked in _stages_by_run(pipeline, settings).items():
        stages[run] = pipeline.trace(asked)
        _check_have_run(pipeline, stages[run])
    _check_curves(pipeline, settings, stages)
    results = []
    for run, names in stages.items():
        result = _make_result(pipeline, names, run, settings.for_run(run))
        results.append(result)
    return results


def _check_have_run(pipeline: Pipeline, names: list[str]) -> None:
    for name in names:
        if name not in pipeline.locks:
            reason = f"stage {name} has not run, so there is no result to publish"
            raise UserError(f"{reason}: run dvc repro first")


def _stages_by_run(pipeline: Pipeline, settings: Settings) -> dict[str, list[str]]:
    """Return the names of the stages that mlflow.yaml asks a run for, by the name of the run."""
    if not settings.runs:
        return {"": pipeline.upstream}
    stages: dict[str, list[str]] = {}
    missing = set(settings.runs)
    for name in pipeline.upstream:
        stage, _, item = name.partition("@")
        if stage in settings.runs:
            stages.setdefault(item or stage, []).append(name)
            missing.discard(stage)
    if missing:
        names = " or ".join(sorted(missing))
        raise UserError(f"{FILE}: runs: no stage upstream is called {names}")
    return stages


def _check_curves(pipeline: Pipeline, settings: Settings, runs: Iterable[str]) -> None:
    """Check that each table of `curves` is one that dvc.yaml plots, with a column x."""
    tables = _paths_of(pipeline.curves)
    for path in settings.curves:
        paths = {path.replace("{run}", run) for run in runs}
        if paths.isdisjoint(tables):
            known = ", ".join(sorted(set(tables))) or "none"
            wrong = f"dvc.yaml has no plot of {path} with an x; it has {known}"
            raise UserError(f"{FILE}: curves: {wrong}")


@dataclass(frozen=True)
class _Files:
    """The files of some stages, with their hashes by path."""

    deps: Hashes
    outs: Hashes

    @property
    def known(self) -> Hashes:
        return self.deps | self.outs

    def hashes_of(self, paths: list[str], root: Path) -> Hashes:
        """Return the hashes of files; a part of an output has none in dvc.lock, and is read."""
        known = self.known
        hashes: Hashes = {}
        for path in paths:
            hashes[path] = known.get(path) or md5(root / path)
        return hashes


def _make_result(pipeline: Pipeline, names: list[str], run: str, settings: Settings) -> Result:
    root = pipeline.root
    locks = locks_of(names, pipeline.locks)
    files = _Files(deps_of(locks), outs_of(locks))
    _check_paths(files, run, settings)
    pictures = _final_pictures(root, files)
    hashes = dict(files.outs)
    for picture in pictures:
        del hashes[picture]
    writers = [name for name in names if _has_part(pipeline.locks[name], pictures)]
    params = params_of(locks_of(writers, pipeline.locks))
    params |= _params_beside(pipeline, files)
    commands = _template_commands(pipeline, writers)
    data = settings.data or _find_data(root, files)
    on = settings.champion.on if settings.champion else []
    compared = files.hashes_of(on, root)
    local = [path for path in hashes if _is_local(path)]
    return Result(
        run=run,
        root=root,
        settings=settings,
        stage_names=names,
        params=by_display_name(params, settings.names) | settings.params,
        hashes=hashes,
        pictures=pictures,
        data=files.hashes_of(data, root),
        compared_on=digest([compared[path] for path in on]),
        metric_files=overlapping_paths(pipeline.metrics, local),
        curves=_curves_among(pipeline, settings, local),
        digest=_result_digest(run, params, hashes, commands),
        pictures_digest=digest(pictures),
        items=_items(pipeline, names),
    )


def _has_part(lock: StageLock, pictures: Hashes) -> bool:
    """Return whether a stage has a part in the result: it writes not only pictures."""
    return not lock.outs or bool(lock.outs.keys() - pictures)


def _curves_among(pipeline: Pipeline, settings: Settings, outs: list[str]) -> list[CurveTable]:
    """Return the tables that lie in these outputs, with the columns that are shown."""
    paths = overlapping_paths(_paths_of(pipeline.curves), outs)
    curves = []
    for table in pipeline.curves:
        if table.path in paths:
            columns = settings.curves.get(table.path, table.columns)
            curves.append(CurveTable(table.path, table.x, columns))
    return curves


def _items(pipeline: Pipeline, names: list[str]) -> dict[str, str]:
    """Return the items of `foreach` and `matrix` stages, by what these write."""
    items: dict[str, str] = {}
    for name in names:
        stage = pipeline.declared[name]
        if stage.item:
            items |= dict.fromkeys(stage.outs, stage.item)
    return items


def _params_beside(pipeline: Pipeline, files: _Files) -> dict[Key, Any]:
    """Return the parameters in files that dvc.yaml names beside the stages.

    Of those that the stages read or write: of others nobody knows which result they belong to.
    """
    params = {}
    paths = overlapping_paths(pipeline.params, files.known)
    for path in _files_of(paths, pipeline.root):
        file = pipeline.root / path
        values = flatten(read(file)) if file.exists() else {}
        for name, value in values.items():
            params[path, name] = value
    return params


def _template_commands(pipeline: Pipeline, names: list[str]) -> dict[str, str]:
    """Return the commands of stages that have them from templates, as they were run."""
    commands = {}
    for name in names:
        if pipeline.declared[name].has_template_cmd:
            commands[name] = pipeline.locks[name].cmd
    return commands


def _result_digest(
    run: str, params: dict[Key, Any], hashes: Hashes, commands: dict[str, str]
) -> str:
    """Return what a result is known by: runs that are published are found by it.

    Commands count where they come from templates; else they are code, as the programs are.
    """
    by_key = {}
    for (file, name), value in params.items():
        by_key[f"{file}:{name}"] = value
    content: dict[str, Any] = {"run": run, "params": by_key, "hashes": hashes}
    if commands:
        content["commands"] = commands
    return digest(content)


def _final_pictures(root: Path, files: _Files) -> Hashes:
    """Return the outputs that are pictures, and that no stage reads."""
    needed = set(overlapping_paths(files.outs, files.deps))
    pictures = {}
    for path, hashed in files.outs.items():
        is_last = path not in needed
        if is_last and is_in_project(path) and is_picture(root / path):
            pictures[path] = hashed
    return pictures


def _find_data(root: Path, files: _Files) -> list[str]:
    """Return the inputs that no stage writes, and that look like data."""
    written = overlapping_paths(files.deps, files.outs)
    inputs = sorted(files.deps.keys() - written)
    return [path for path in inputs if _is_data(root, path)]


def _is_data(root: Path, path: str) -> bool:
    """Return whether an input looks like data: `dvc add` keeps it, or it is a file, but no code."""
    file = Path(path)
    for added in (file, *file.parents):
        if (root / f"{added}.dvc").exists():
            return True
    return file.suffix.lower() not in NO_DATA


def _check_paths(files: _Files, run: str, settings: Settings) -> None:
    """Check that mlflow.yaml names files that the stages of a run have read or written."""
    on = settings.champion.on if settings.champion else []
    outputs = [*settings.images.values()]
    if settings.model:
        outputs.append(settings.model.file)
    for paths, there in ([*settings.data, *on], files.known), (outputs, files.outs):
        missing = set(paths).difference(overlapping_paths(paths, there))
        if missing:
            of_run = f" of {run}" if run else ""
            raise UserError(f"{FILE}: {min(missing)} is not a file of a stage upstream{of_run}")


def locks_of(names: list[str], locks: dict[str, StageLock]) -> list[StageLock]:
    """Return the stages of these names that have run."""
    return [locks[name] for name in names if name in locks]
