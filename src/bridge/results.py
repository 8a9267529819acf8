"""A result: what one run in MLflow shows, as dvc.lock has it. The same parameters and hashes are the same result."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import UserError
from bridge.files import digest, flat, is_picture, md5, read, read_table
from bridge.settings import FILE, of_run
from bridge.stages import meet

# What a stage depends on, but no data: the settings of the project, and code.
NO_DATA = {
    ".py",
    ".ipynb",
    ".sh",
    ".r",
    ".jl",
    ".sql",
    ".toml",
    ".yaml",
    ".yml",
    ".lock",
    ".cfg",
    ".ini",
    ".md",
    ".txt",
}


@dataclass(frozen=True)
class Result:
    """One result, and where in the project it lies.

    The digest is that of the result alone: new pictures of it (another resolution, say) belong to the run that
    is there. So a stage that writes nothing but pictures has no part in it, nor do its parameters.
    """

    run: str  # the item of `foreach`; "" where the pipeline has one result
    root: Path
    settings: dict  # of mlflow.yaml, for this run
    stages: list[str]  # all that it was made by
    params: dict[str, object]
    hashes: dict[str, str]  # by path, of its files
    pictures: dict[str, str]  # by path, of its pictures
    data: dict[str, str]  # by path, of its data set
    metric_files: list[str]
    curves: list  # see `bridge.stages.Pipeline`
    digest: str
    pictures_digest: str

    def metrics(self):
        """Every number of the metrics files, by name."""
        found = {}
        for path in self.metric_files:
            for key, value in flat(read(self.root / path)).items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found[path, key] = float(value)
        return self._named(found)

    def tables(self):
        """The curves by name, each a dict of values by step: of the tables whose x are whole numbers that grow."""
        found = {}
        for path, x, columns in self.curves:
            rows = read_table(self.root / path)
            try:
                steps = [float(row[x]) for row in rows]
                if not steps or any(step != int(step) for step in steps) or steps != sorted(set(steps)):
                    continue
                for y in columns:
                    found[path, y] = {int(step): float(row[y]) for step, row in zip(steps, rows, strict=True)}
            except (KeyError, TypeError, ValueError):
                continue  # of words, as the table of a confusion matrix may be
        return self._named(found)

    def images(self):
        """Images with steps: (name, step, path). A single picture has the step 0, one of a folder that of its name."""
        for name, path in self.settings["images"].items():
            place = self.root / path
            for file in sorted(place.iterdir()) if place.is_dir() else [place]:
                yield name, int(file.stem) if file.stem.isdigit() and place.is_dir() else 0, file

    def files(self):
        """Paths of the outputs and pictures that are kept with the run."""
        patterns, shown = self.settings["files"], set(self.settings["images"].values())
        for path in [*self.hashes, *self.pictures]:
            place = self.root / path
            wanted = any(fnmatch.fnmatch(path, pattern) for pattern in patterns) if patterns else path not in shown
            parts = place.rglob("*") if place.is_dir() else [place]
            size = sum(part.stat().st_size for part in parts if part.is_file())
            if wanted and (patterns or size <= self.settings["max_bytes"]):
                yield path

    def dataset(self):
        """Name and hash of the data set, and its paths; None if there is none."""
        if self.data:
            hashes = list(self.data.values())
            return Path(next(iter(self.data))).stem, hashes[0] if len(hashes) == 1 else digest(hashes)[:32], self.data

    def compared_on(self):
        """Digest of the data that results are compared on."""
        return digest([self.hashes.get(path) or md5(self.root / path) for path in self.settings["champion"]["on"]])

    def check_files(self):
        """Raises UserError if a file is not what its stage wrote."""
        for path, locked in {**self.hashes, **self.pictures}.items():
            if "://" not in path and locked and md5(self.root / path) != locked:
                raise UserError(
                    f"{path} is not what its stage wrote (dvc.lock): run dvc repro. If it says so again, the object"
                    f" {locked[:2]}/{locked[2:]} of DVC's cache is spoiled: delete it"
                )

    def _named(self, found):
        return _named(found, self.settings["names"])


def _named(found, names):
    """By (file, key) -> by name: the key, with its file in front where two files have the same one."""
    keys = [key for _, key in found]
    named = {}
    for (file, key), value in found.items():
        name = key if keys.count(key) == 1 else f"{file}.{key}"
        begin = next((begin for begin in names if name.startswith(begin)), "")
        named[names.get(begin, "") + name.removeprefix(begin)] = value
    return named


def load_results(pipeline, settings, root):
    """The results of the pipeline: one for each item of the stages that mlflow.yaml names, or one of all stages.

    Args:
        pipeline: see `bridge.stages.Pipeline`.
        settings: see `bridge.settings.Settings`.
        root: folder of the project.

    Raises:
        UserError: mlflow.yaml names stages or files that are not there.
    """
    chosen = {"": pipeline.upstream}
    if settings.runs:
        items = {}
        for name in pipeline.upstream:
            stage, _, item = name.partition("@")
            if stage in settings.runs and item:
                items.setdefault(item, []).append(name)
        chosen = {item: pipeline.trace(names) for item, names in items.items()}
        if not chosen:
            raise UserError(
                f"{FILE}: no stage of {', '.join(settings.runs)} is upstream and has run: run dvc repro first"
            )
    return [_result(pipeline, names, run, of_run(vars(settings), run), root) for run, names in chosen.items()]


def _result(pipeline, names, run, settings, root):
    params, hashes, pictures, deps = {}, {}, {}, {}
    for name in names:
        stage = pipeline.stages[name]
        drawn = {path: hash for path, hash in stage.outs.items() if is_picture(root / path)}
        pictures |= drawn
        deps |= stage.deps
        if drawn != stage.outs or not drawn:
            params |= {(file, key): value for file, values in stage.params.items() for key, value in values.items()}
            hashes |= {path: hash for path, hash in stage.outs.items() if path not in drawn}
    wanted = settings["data"] or [
        path for path in deps if not pipeline.makers([path]) and Path(path).suffix.lower() not in {*NO_DATA, ""}
    ]
    written = [*hashes, *pictures]
    for path in [*settings["images"].values(), *([settings["model"]["file"]] if settings["model"] else ())]:
        if not any(meet(path, out) for out in written):
            raise UserError(f"{FILE}: {path} is not an output of a stage upstream")
    curves = []
    for path, x, columns in pipeline.curves:
        if any(meet(path, out) for out in hashes):
            curves.append((path, x, settings["curves"].get(path, columns)))
    return Result(
        run=run,
        root=root,
        settings=settings,
        stages=names,
        params=_named(params, settings["names"]) | settings["params"],
        hashes=hashes,
        pictures=pictures,
        data={path: {**deps, **hashes}.get(path) for path in wanted},
        metric_files=[path for path in pipeline.metrics if any(meet(path, out) for out in hashes)],
        curves=curves,
        digest=digest(
            {"run": run, "params": {f"{file}:{key}": v for (file, key), v in params.items()}, "hashes": hashes}
        ),
        pictures_digest=digest(pictures),
    )
