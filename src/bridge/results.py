"""A result: what one run in MLflow shows, as dvc.lock has it. The same parameters and hashes are the same result."""

import fnmatch
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import UserError
from bridge.files import digest, files_in, flat, is_picture, md5, read, read_table
from bridge.settings import FILE, of_run
from bridge.stages import meeting, params_of

# What a stage depends on, but no data: the settings of the project, and code.
NO_DATA = {"", *".py .ipynb .sh .r .jl .sql .toml .yaml .yml .lock .cfg .ini .md .txt".split()}


@dataclass(frozen=True)
class Result:
    """One result, and where in the project it lies.

    The digest is that of the result alone: new pictures of it (another resolution, say) belong to the run that is
    there. So a stage that writes nothing but pictures has no part in it, nor do its parameters.
    """

    run: str  # the item of `foreach`; "" where the pipeline has one result
    root: Path
    settings: dict  # of mlflow.yaml, for this run
    stages: list[str]  # all that it was made by
    params: dict[str, object]
    hashes: dict[str, str]  # by path, of its files
    pictures: dict[str, str]  # by path, of its pictures
    data: dict[str, str]  # by path, of its data set
    compared_on: str  # digest of the data that mlflow.yaml names for it
    metric_files: list[str]
    curves: list  # see `bridge.stages.Pipeline`
    digest: str
    pictures_digest: str

    def numbers(self, content_of=None):
        """Metrics, a number each, and curves, each a dict of numbers by step: both by name.

        content_of(path) may give what a metrics file holds in a commit.
        """
        metrics, curves = {}, {}
        for path in self.metric_files:
            for key, value in flat(
                content_of(path) if content_of else read(self.root / path)
            ).items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    metrics[path, key] = float(str(value))  # infinite where it is too large
        for path, x, columns in self.curves:
            for file in files_in(self.root / path):
                rows = read_table(file)
                for y in columns or [column for row in rows[:1] for column in row if column != x]:
                    if points := points_of(rows, x, y):
                        curves[file.relative_to(self.root).as_posix(), y] = points
                    elif path in self.settings["curves"]:
                        raise UserError(
                            f"{FILE}: curves: {path} has no numbers {y} by growing whole {x}"
                        )
        names = named([*metrics, *curves], self.settings["names"])
        return [{names[key]: value for key, value in found.items()} for found in (metrics, curves)]

    def images(self):
        """Images with steps: (name, step, path). A single picture has the step 0, one of a folder that of its name."""
        for name, path in self.settings["images"].items():
            place = self.root / path
            for file in files_in(place):
                if place.is_dir() and not file.stem.isdecimal():
                    raise UserError(
                        f"{FILE}: images: {file.name} in {path} is not named after its step, as 10.png is"
                    )
                yield name, int(file.stem) if place.is_dir() else 0, file

    def files(self):
        """Paths of the outputs and pictures that are kept with the run."""
        patterns, shown = self.settings["files"], self.settings["images"].values()
        for path in [*self.hashes, *self.pictures]:
            if patterns:
                wanted = any(fnmatch.fnmatch(path, pattern) for pattern in patterns)
            else:
                size = sum(
                    file.stat().st_size for file in files_in(self.root / path) if is_inside(path)
                )
                wanted = size <= self.settings["max_bytes"] and path not in shown
            if wanted and is_inside(path):
                yield path

    def check_files(self):
        """Raises UserError if a file is not what its stage wrote."""
        for path, locked in {**self.hashes, **self.pictures}.items():
            if locked and is_inside(path) and md5(self.root / path) != locked:
                spoiled = (
                    f"the object {locked[:2]}/{locked[2:]} of DVC's cache is spoiled: delete it"
                )
                told = f"{path} is not what its stage wrote (dvc.lock): run dvc repro. If it says so again, {spoiled}"
                raise UserError(told)


def is_inside(path):
    """Whether it is a file of the project: DVC knows outputs elsewhere, too."""
    return "://" not in path and not path.startswith(("/", "../"))


def points_of(rows, x, y):
    """The numbers of a column by step; None unless the steps are whole numbers that grow. An empty cell is no point."""
    try:
        points = [(float(row[x]), float(row[y])) for row in rows if row[y] not in ("", None)]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None  # of words, as the table of a confusion matrix may be
    steps = [step for step, _ in points]
    grow = all(step == step // 1 for step in steps) and steps == sorted(set(steps))
    return {int(step): value for step, value in points} if grow else None


def named(keys, beginnings):
    """A name for each (file, key): the key, with its file in front where two files have the same one.

    Beginnings of names are replaced as mlflow.yaml says, and characters that MLflow refuses by "_".
    """
    count, named = Counter(key for _, key in keys), {}
    for file, key in keys:
        name = key if key and count[key] == 1 else f"{file}.{key}".rstrip(".")
        begin = next((begin for begin in beginnings if name.startswith(begin)), "")
        name = re.sub(r"[^\w.\- :/]", "_", beginnings.get(begin, "") + name.removeprefix(begin))
        if named.setdefault(name, (file, key)) != (file, key):
            raise UserError(
                f"{FILE}: names: {key} of {file} and {named[name][1]} of {named[name][0]} would be {name}"
            )
    return {key: name for name, key in named.items()}


def load_results(pipeline, settings, root):
    """One for each item of the stages that mlflow.yaml names, or one of all stages.

    UserError where a stage has not run, or mlflow.yaml names stages or files that are not there.
    """
    if not pipeline.upstream:
        raise UserError(
            "there are no stages to publish: dvc.yaml has none, or none that writes a dep of ours"
        )
    items = {} if settings["runs"] else {"": pipeline.upstream}
    for name in pipeline.upstream:
        stage, _, item = name.partition("@")
        if stage in settings["runs"]:
            items.setdefault(item or stage, []).append(name)
    if settings["runs"] and not items:
        raise UserError(
            f"{FILE}: runs: no stage upstream is called {' or '.join(settings['runs'])}"
        )
    traced = {run: pipeline.trace(names) for run, names in items.items()}
    for name in sorted({name for names in traced.values() for name in names} - {*pipeline.stages}):
        raise UserError(
            f"stage {name} has not run, so there is no result to publish: run dvc repro first"
        )
    return [
        _result(pipeline, names, run, of_run(settings, run), root) for run, names in traced.items()
    ]


def _result(pipeline, names, run, settings, root):
    stages = [pipeline.stages[name] for name in names]
    deps = {path: hash for stage in stages for path, hash in stage.deps.items()}
    outs = {path: hash for stage in stages for path, hash in stage.outs.items()}
    known, needed, made = {**deps, **outs}, {*meeting(outs, deps)}, {*meeting(deps, outs)}
    drawn = {
        path for path in outs if path not in needed and is_inside(path) and is_picture(root / path)
    }
    hashes = {path: hash for path, hash in outs.items() if path not in drawn}
    pictures = {path: hash for path, hash in outs.items() if path in drawn}
    params = params_of(stage for stage in stages if not stage.outs or stage.outs.keys() - drawn)
    by_name = named(params, settings["names"])
    shown = {
        "run": run,
        "params": {f"{file}:{key}": v for (file, key), v in params.items()},
        "hashes": hashes,
    }
    data = settings["data"] or [
        path for path in sorted(deps) if path not in made and _is_data(root, path)
    ]
    on, model = settings["champion"].get("on", []), settings["model"]
    outputs = [*settings["images"].values(), *([model["file"]] if model else [])]
    for paths, there in ([*data, *on], known), (outputs, outs):
        for path in sorted({*paths} - {*meeting(paths, there)}):
            raise UserError(
                f"{FILE}: {path} is not a file of a stage upstream{run and f' of {run}'}"
            )
    for path in model.get("code", []):
        if not (root / path).is_dir():
            raise UserError(f"{FILE}: model.code: {path} is not a folder")
    tables = meeting([path for path, *_ in pipeline.curves], hashes)
    return Result(
        run=run,
        root=root,
        settings=settings,
        stages=names,
        params={by_name[key]: value for key, value in params.items()} | settings["params"],
        hashes=hashes,
        pictures=pictures,
        data={path: known.get(path) or md5(root / path) for path in data},
        compared_on=digest([known.get(path) or md5(root / path) for path in on]),
        metric_files=meeting(pipeline.metrics, hashes),
        curves=[
            (path, x, settings["curves"].get(path, ys))
            for path, x, ys in pipeline.curves
            if path in tables
        ],
        digest=digest(shown),
        pictures_digest=digest(pictures),
    )


def _is_data(root, path):
    """Whether an input looks like data: `dvc add` keeps it, or it is a file, but no code."""
    kept = any((root / f"{place}.dvc").exists() for place in [Path(path), *Path(path).parents])
    return kept or Path(path).suffix.lower() not in NO_DATA
