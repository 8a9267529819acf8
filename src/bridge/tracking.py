"""Publish what the checkout has: the results of now, unless the store has them."""

import json
import os
import shlex
import sys
from pathlib import Path

from bridge.atomic import atomic_write
from bridge.database import complete_runs, relocate_artifacts
from bridge.results import Result, load_results
from bridge.settings import Settings
from bridge.stages import Pipeline
from bridge.store import EXPERIMENTS, PICTURES, PublishedRun, Store
from bridge.validation import check_result
from bridge.versions import check_versions

MODEL_TRAINING = "workflowType=machine_learning"  # otherwise MLflow opens its GenAI view


def track(pipeline: Pipeline, settings: Settings, store: Store) -> list[tuple[str, PublishedRun]]:
    """Publish the results, unless the store has them, and write the receipt.

    Returns:
        The name of each result, and its run.

    Raises:
        UserError: a result is not what the stages wrote with these parameters, or the store is
            unreachable or refuses.
    """
    results = load_results(pipeline, settings)
    relocate_artifacts(store)
    runs = complete_runs(store, results)
    missing = []
    for result in results:
        if not is_shown(result, runs.get(result.digest)):
            missing.append(result)
    for result in missing:
        check_result(result)
    for result in results:
        pipeline.check_current(result.stage_names)
    if missing:
        runs |= _publish(missing, pipeline, store)
    _write_receipt(pipeline, results)
    experiment = store.experiment or store.experiment_id or ""
    return [(result.run or experiment, runs[result.digest]) for result in results]


def print_left_out(pipeline: Pipeline) -> None:
    """Say which files that dvc.yaml names beside the stages are not published, and why."""
    paths = pipeline.left_out()
    if paths:
        from bridge.init import bridge_command

        why = "no stage writes or reads it, so nobody knows which result it belongs to"
        outs = "add it to the outs of the stage that writes it, with cache: false if it is in Git"
        advice = f"{outs}, then run {bridge_command(pipeline.root)} init --force"
        print(f"note: left out: {', '.join(paths)}: {why}; {advice}", file=sys.stderr)


def is_shown(result: Result, run: PublishedRun | None) -> bool:
    """Return whether a run has the result, these pictures of it, and this experiment's name."""
    if run is None or run.tags.get(PICTURES) != result.pictures_digest:
        return False
    experiment = os.environ.get("DVC_EXP_NAME")
    return experiment is None or experiment in run.tags.get(EXPERIMENTS, "").split()


def _publish(results: list[Result], pipeline: Pipeline, store: Store) -> dict[str, PublishedRun]:
    """Publish results; MLflow is imported here, which takes longer than all else."""
    from bridge.environment import prepare_mlflow
    from bridge.lineage import load_lineage

    check_versions()
    prepare_mlflow()
    from bridge.publish import publish

    lineage = load_lineage(pipeline)
    if lineage.git_refusal:
        note = f"note: Git does not say which commit this is: {lineage.git_refusal}"
        print(note, file=sys.stderr)
    return publish(results, lineage, store)


def _write_receipt(pipeline: Pipeline, results: list[Result]) -> None:
    """Write which results the store has: the output of our stage, the same bytes everywhere."""
    digests = {result.run: [result.digest, result.pictures_digest] for result in results}
    with atomic_write(pipeline.root / pipeline.receipt) as temporary:
        temporary.write_text(json.dumps(digests, sort_keys=True) + "\n")


def print_runs(runs: list[tuple[str, PublishedRun]], store: Store) -> None:
    """Print the page of each run, and the one with the charts of all."""
    page = ""
    for name, run in runs:
        page = f"{store.server}/#/experiments/{run.experiment_id}/runs"
        state = "published" if run.new else "was there"
        print(f"{name:7} {state:12}{page}/{run.run_id}?{MODEL_TRAINING}")
    print(f"{'charts':20}{page}?{MODEL_TRAINING}&compareRunsMode=CHART")
    if not store.is_remote:
        print(f"{'to open them':20}{ui_command(store)}")


def ui_command(store: Store) -> str:
    """Return the command that opens a store that no server serves.

    With its address, always: what a plain `mlflow ui` opens depends on MLflow's version, on the
    current folder, and on whether a folder `mlruns` lies there.
    """
    command = "mlflow ui --backend-store-uri"
    if store.file is None:
        return f'{command} "$MLFLOW_TRACKING_URI"'
    if not store.uri.endswith(str(store.file)):  # it is said from the folder of its file
        return f"cd {shlex.quote(str(store.file.parent))} && {command} {shlex.quote(store.uri)}"
    if store.file.parent == Path.cwd():
        return f"{command} sqlite:///{shlex.quote(store.file.name)}"
    return f"{command} {shlex.quote(store.redacted_uri)}"
