"""Say what would be published, what would be left out and why, and whether all is set up."""

import platform
from pathlib import Path

from bridge.database import complete_runs
from bridge.errors import UserError
from bridge.files import size_of
from bridge.git import Git
from bridge.init import PIPELINE_FILE, bridge_command, missing_rules, own_stage
from bridge.results import Result, is_in_project, load_results
from bridge.settings import Settings
from bridge.stages import Pipeline
from bridge.store import Store
from bridge.tracking import is_shown
from bridge.validation import check_result
from bridge.versions import bridge_version, installed_version

STORED = ["mlflow.db", "mlflow-bridge"]  # files that Git must not track
WIDTH = 13  # of the first column
SHOWN = 6  # names of a list


class Overview:
    """Prints lines with a heading each, and counts the problems."""

    def __init__(self) -> None:
        self.problems = 0

    def line(self, heading: str, text: str) -> None:
        print(f"{heading:{WIDTH}} {text}")

    def problem(self, text: str) -> None:
        self.problems += 1
        self.line("  PROBLEM", text)


def print_overview(pipeline: Pipeline, settings: Settings, store: Store) -> bool:
    """Print what `publish` would do; return whether there is no problem."""
    overview = Overview()
    _print_setting(overview, pipeline, store)
    _print_stage(overview, pipeline)
    try:
        results = load_results(pipeline, settings)
    except UserError as error:
        overview.problem(str(error))
        return False
    runs = complete_runs(store, results)
    for result in results:
        run = runs.get(result.digest)
        state = "not published yet, or not completely"
        if run and is_shown(result, run):
            state = f"is run {run.run_id}"
        if store.file is None:
            state = "publish asks the server whether it has it"
        overview.line("result", f"{result.run or store.experiment}: {state}")
        _print_result(overview, pipeline, result)
    return overview.problems == 0


def _print_setting(overview: Overview, pipeline: Pipeline, store: Store) -> None:
    names = ("dvc", "mlflow", "numpy")
    versions = [f"bridge {bridge_version()}"]
    versions += [f"{name} {installed_version(name)}" for name in names]
    versions.append(f"Python {platform.python_version()}")
    overview.line("versions", ", ".join(versions))
    overview.line("project", str(pipeline.root))
    there = "" if store.file is None or store.file.exists() else " (publish makes it)"
    experiment = store.experiment or f"of ID {store.experiment_id}"
    overview.line("store", f"{store.redacted_uri}{there}, experiment {experiment}")
    _print_git(overview, pipeline.root, store)


def _print_git(overview: Overview, root: Path, store: Store) -> None:
    git = Git(root)
    if git.head().text is None:
        overview.line("Git", "no commit: a run cannot say where it comes from")
        return
    tracked = [path for path in STORED if git.tracked([path])]
    missing = missing_rules(root)
    if tracked:
        mend = f"git rm -r --cached {' '.join(tracked)}"
        overview.problem(f"Git tracks {' and '.join(tracked)}: {mend}")
    elif missing and store.file:
        rules = ", ".join(missing)
        overview.problem(f".gitignore does not have {rules}: {bridge_command(root)} init adds it")
    else:
        overview.line("Git", "does not track the store")


def _print_stage(overview: Overview, pipeline: Pipeline) -> None:
    name = own_stage(pipeline.root)
    command = bridge_command(pipeline.root)
    if name is None:
        text = f"none in {PIPELINE_FILE} publishes: {command} init adds one"
        overview.line("stage", text)
    else:
        overview.line("stage", f"{name}, in {PIPELINE_FILE}")
    others = [stage for stage in pipeline.declared if stage not in pipeline.upstream]
    for stage in others:
        writes_something = bool(pipeline.declared[stage].outs)
        why = f"none of its outputs is in the deps of {name}" if writes_something else "no outputs"
        overview.line("  left out", f"stage {stage}: {why}")
    for path in pipeline.left_out():
        overview.line("  left out", f"{path}: no stage writes or reads it")


def _print_result(overview: Overview, pipeline: Pipeline, result: Result) -> None:
    params = [f"{key}={value}" for key, value in result.params.items()]
    overview.line("  params", _shorten(params))
    try:
        numbers = result.load_numbers()
    except UserError as error:
        overview.problem(str(error))
        return
    overview.line("  metrics", _shorten([*numbers.metrics]))
    overview.line("  curves", _shorten([*numbers.curves]))
    for name in numbers.other_ends:
        what = "a metric and a curve that ends in another value: it becomes one more point"
        overview.line("  note", f"{name} is {what}; names: in mlflow.yaml can tell them apart")
    overview.line("  data", _shorten([*result.data]))
    missing = result.missing_files()
    if missing:
        overview.problem(f"missing: {_shorten(missing)}: dvc pull or dvc repro brings them back")
        return
    kept = result.kept_files()
    overview.line("  files", _shorten(kept))
    for path in {**result.hashes, **result.pictures}:
        if path not in kept and path not in result.settings.images.values():
            overview.line("  left out", f"{path}: {_reason(result, path)}")
    try:
        pipeline.check_current(result.stage_names)
        check_result(result)
    except UserError as error:
        overview.problem(str(error))


def _reason(result: Result, path: str) -> str:
    """Return why an output is not kept with the run."""
    if not is_in_project(path):
        return "it is outside of the project"
    if result.settings.files:
        return "it matches no pattern of files: in mlflow.yaml"
    size = size_of(result.root / path) / 1e6
    return f"it has {size:.1f} MB, and max_bytes is {result.settings.max_bytes / 1e6:g} MB"


def _shorten(names: list[str]) -> str:
    """Return how many there are, and the first of them."""
    if not names:
        return "none"
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)}: {', '.join(names[:SHOWN])}{rest}"
