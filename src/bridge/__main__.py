"""Publish the results of the DVC pipeline to MLflow, one run for each: `python bridge`.

`python bridge --stage` prints the stage of dvc.yaml that does it. See docs/bridge.md.
"""

import argparse
import gc
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def _make_importable() -> None:
    """Make `import bridge` find this folder, wherever it lies and whatever it is called.

    Python puts a folder that it runs on sys.path, where `git.py` here would be taken for GitPython.
    The folder around it must not be there either: a `logging.py` of the user's may lie in it.
    """
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != FOLDER]
    file = FOLDER / "__init__.py"
    spec = importlib.util.spec_from_file_location("bridge", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is missing")
    sys.modules["bridge"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["bridge"])


if not __package__:  # run as a folder, and not by `python -m bridge`
    _make_importable()

from bridge.checks import check_result
from bridge.database import complete_runs, relocate_artifacts
from bridge.errors import exit_on_user_error
from bridge.files import atomic_write, main_checkout, project_root
from bridge.results import Result, load_results
from bridge.settings import FILE, Settings, load_settings
from bridge.stages import RECEIPT, Pipeline
from bridge.store import EXPERIMENTS, PICTURES, PublishedRun, Store, configured_store

MODEL_TRAINING = "workflowType=machine_learning"  # else MLflow's pages open on their GenAI face
PLAIN_PATH = re.compile(r"[A-Za-z_.][\w./-]*")  # needs no quotes in YAML
IGNORED = "/mlflow.db* and /.mlflow.* and /mlruns/"
ADVICE = f"This belongs below stages: in dvc.yaml, and into .gitignore the lines {IGNORED}"


def track(pipeline: Pipeline, settings: Settings, store: Store) -> list[tuple[str, PublishedRun]]:
    """Publish the results, unless the store has them, and write the receipt.

    Returns:
        The name of each result, and its run.

    Raises:
        UserError: a result is not what the stages wrote with these parameters, or the store is
            unreachable or refuses.
    """
    results = load_results(pipeline, settings)
    _print_left_out(pipeline)
    relocate_artifacts(store)
    runs = complete_runs(store, results)
    missing = [result for result in results if not _is_shown(result, runs.get(result.digest))]
    for result in missing:
        check_result(result)
    for result in results:
        pipeline.check_current(result.stage_names)
    if missing:
        runs |= _publish(missing, pipeline, store)
    _write_receipt(pipeline.root, results)
    experiment = store.experiment or store.experiment_id or ""
    return [(result.run or experiment, runs[result.digest]) for result in results]


def _print_left_out(pipeline: Pipeline) -> None:
    paths = pipeline.left_out()
    if paths:
        why = "no stage writes or reads it, so nobody knows which result it belongs to"
        advice = "add it to the outs of the stage that writes it, with cache: false if it is in Git"
        print(f"note: left out: {', '.join(paths)}: {why}; {advice}", file=sys.stderr)


def _is_shown(result: Result, run: PublishedRun | None) -> bool:
    """Return whether a run has the result, these pictures of it, and this experiment's name."""
    if run is None or run.tags.get(PICTURES) != result.pictures_digest:
        return False
    experiment = os.environ.get("DVC_EXP_NAME")
    return experiment is None or experiment in run.tags.get(EXPERIMENTS, "").split()


def _publish(results: list[Result], pipeline: Pipeline, store: Store) -> dict[str, PublishedRun]:
    """Publish results; MLflow is imported here, which takes longer than all else."""
    from bridge.environment import prepare_mlflow
    from bridge.lineage import load_lineage

    prepare_mlflow()
    from bridge.publish import publish

    lineage = load_lineage(pipeline)
    if lineage.git_refusal:
        note = f"note: Git does not say which commit this is: {lineage.git_refusal}"
        print(note, file=sys.stderr)
    return publish(results, lineage, store)


def _write_receipt(root: Path, results: list[Result]) -> None:
    """Write which results the store has: the output of our stage, the same bytes everywhere."""
    digests = {result.run: [result.digest, result.pictures_digest] for result in results}
    with atomic_write(root / RECEIPT) as temporary:
        temporary.write_text(json.dumps(digests, sort_keys=True) + "\n")


def stage_text(pipeline: Pipeline) -> str:
    """Return the stage of dvc.yaml that publishes all that the others write.

    It runs whenever an output or a file of parameters has changed.
    """
    deps = pipeline.declared_outs()
    for stage in pipeline.declared.values():
        deps += [path for path in stage.params if path not in deps]
    if (pipeline.root / FILE).exists():
        deps.append(FILE)
    command = f"python {shlex.quote(FOLDER.relative_to(pipeline.root).as_posix())}"
    lines = ["  track:", f"    cmd: {_yaml_text(command)}", "    deps:"]
    lines += [f"      - {_yaml_text(path)}" for path in deps]
    lines += ["    outs:", f"      - {RECEIPT}: {{cache: false}}"]
    return "\n".join(lines)


def _yaml_text(text: str) -> str:
    """Return a text as YAML has it: quoted as in JSON, if it needs quotes."""
    is_plain = all(PLAIN_PATH.fullmatch(word) for word in text.split(" "))
    return text if is_plain else json.dumps(text)


def _print_runs(runs: list[tuple[str, PublishedRun]], store: Store) -> None:
    """Print the page of each run, and the one with the charts of all."""
    page = ""
    for name, run in runs:
        page = f"{store.server}/#/experiments/{run.experiment_id}/runs"
        state = "published" if run.new else "was there"
        print(f"{name:7} {state:12}{page}/{run.run_id}?{MODEL_TRAINING}")
    charts = "charts" if store.is_remote else "charts (mlflow ui)"
    print(f"{charts:20}{page}?{MODEL_TRAINING}&compareRunsMode=CHART")


def main() -> None:
    """Publish the results, or print the stage that does it."""
    parser = argparse.ArgumentParser(prog="bridge", description=__doc__)
    parser.add_argument(
        "--stage", action="store_true", help="print the stage of dvc.yaml that publishes"
    )
    arguments = parser.parse_args()
    # Python looks for garbage while MLflow is imported, and among all that once more at its end:
    # 0.9 s of the 2.4 s that importing it and opening a store take. This process ends soon.
    gc.disable()
    root = project_root()
    pipeline = Pipeline(root)
    settings = load_settings(root)
    if arguments.stage:
        print(ADVICE, file=sys.stderr)
        print(stage_text(pipeline))
        return
    store = configured_store(root, settings.experiment or main_checkout(root).name)
    _print_runs(track(pipeline, settings, store), store)
    gc.freeze()  # what is there now is not looked at when Python ends


if __name__ == "__main__":
    with exit_on_user_error():
        main()
