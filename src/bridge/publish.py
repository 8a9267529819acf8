"""Publish results to MLflow: exactly one complete run for each, wherever a kill interrupts it.

For each result, in this order:

1. Its lock is taken: whoever publishes a result holds it alone (locks.py).
2. Its run is found by the tag bridge.result, or created with it.
3. The model is logged, if the result has one: metrics are linked to it as of step 0.
4. Parameters, metrics, curves and the data set are logged.
5. Files and images are logged.
6. The run is FINISHED. That says little: MLflow sets it of half-written runs, too.
7. Description, digest of the pictures, and the tag bridge.complete are written, in one batch.

And when all results are there:

8. The best model gets its aliases (champion.py).

What is killed before 7 is found in 2 the next time, and written again from 3 on: everything is
written with the same name, step and time as before, so that it is there once (run_content.py).
A run that has the tag is left alone. Its status would not do: see 6.
"""

import colorsys
import errno
import itertools
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import sqlalchemy
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Experiment, LoggedModelStatus, Run, RunTag

from bridge.champion import update_champion
from bridge.database import artifacts_there, check_writable, create_database
from bridge.description import describe, run_name
from bridge.errors import UserError
from bridge.files import digest
from bridge.lineage import Lineage
from bridge.locks import happened, publish_lock
from bridge.names import valid_name
from bridge.results import Result
from bridge.run_content import UPLOADS, log_files, log_model, log_values, pool, remove_images
from bridge.store import (
    COMPLETE,
    DATA,
    EXPERIMENTS,
    FOLDER,
    METRIC,
    MODEL,
    PICTURES,
    RESULT,
    PublishedRun,
    Store,
    artifact_location,
    safe_name,
)

SEQUENCE_NUMBER = "bridge.order"  # tag of a run: how many were published before it
NOTE = "mlflow.note.content"  # tag of a run: its description
OUR_NOTE = "bridge.note"  # tag of a run: digest of the description that the bridge wrote
TAG_CHARACTERS = 250  # of a tag's name
VALUE_CHARACTERS = 5000  # of a tag's value
REASON_CHARACTERS = 300

# MLflow's own errors, those of its database, of the disk, and of a package that it misses.
STORE_ERRORS = (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ImportError)


@dataclass(frozen=True)
class _Publisher:
    """What all results are published with."""

    client: MlflowClient
    store: Store
    experiment: Experiment
    lineage: Lineage
    sequence: Iterator[int]

    @property
    def registry(self) -> str:
        return safe_name(self.experiment.name)


def publish(results: list[Result], lineage: Lineage, store: Store) -> dict[str, PublishedRun]:
    """Publish results, and return their runs by digest.

    Args:
        results: checked, so that MLflow refuses nothing of them (checks.py).
        lineage: where they come from.
        store: where they go to.

    Raises:
        UserError: the store is unreachable, or refuses.
    """
    check_writable(store)
    try:
        create_database(store)
        mlflow.set_tracking_uri(store.uri)  # the client is not enough: models:/ is looked up here
        client = MlflowClient(store.uri)
        experiment = _find_or_create_experiment(client, store)
        sequence = _sequence_numbers(client, experiment.experiment_id)
        publisher = _Publisher(client, store, experiment, lineage, sequence)
        with pool(UPLOADS if store.is_remote else 1) as workers:  # a server answers several at once
            runs = list(workers.map(partial(_publish_result, publisher), results))
        experiment_id = experiment.experiment_id
        update_champion(client, store, experiment.name, experiment_id, results, lineage)
    except STORE_ERRORS as error:
        raise UserError(_explain(error, lineage.root, store)) from None
    return {result.digest: run for result, run in zip(results, runs, strict=True)}


def _publish_result(publisher: _Publisher, result: Result) -> PublishedRun:
    """Publish one result; the numbers are those of the module's docstring."""
    client, store = publisher.client, publisher.store
    numbers = result.load_numbers()
    with publish_lock(client, store, publisher.registry, result.digest):  # 1
        run = _find_or_create_run(publisher, result)  # 2
        is_new = COMPLETE not in run.data.tags
        is_lost = not artifacts_there(run.info.artifact_uri)
        tags = {}
        if result.settings.model:
            model_id = _whole_model(client, run)
            if model_id is None or is_new or is_lost:
                model_id = log_model(client, store, run, result)  # 3
            tags[MODEL] = model_id
        if is_new:
            log_values(client, run, result, numbers, tags.get(MODEL))  # 4
        if is_lost or run.data.tags.get(PICTURES) != result.pictures_digest:
            _write_files(publisher, run, result, is_lost=is_lost)  # 5
        if is_new:
            client.set_terminated(run.info.run_id, "FINISHED")  # 6
        tags |= _last_tags(publisher, run, result, numbers.metrics)
        batch = [RunTag(key, value) for key, value in tags.items()]
        client.log_batch(run.info.run_id, tags=[*batch, RunTag(COMPLETE, "true")])  # 7
    return PublishedRun(run.info.run_id, run.info.experiment_id, tags, is_new)


def _whole_model(client: MlflowClient, run: Run) -> str | None:
    """Return the ID of a run's logged model, if it is ready and its files are there."""
    asked = f"source_run_id = '{run.info.run_id}'"
    for model in client.search_logged_models([run.info.experiment_id], asked):
        if model.status == LoggedModelStatus.READY and artifacts_there(model.artifact_location):
            return str(model.model_id)
    return None


def _write_files(publisher: _Publisher, run: Run, result: Result, *, is_lost: bool) -> None:
    """Write files and images; while they are old and new, the run has no digest of pictures."""
    publisher.client.set_tag(run.info.run_id, PICTURES, "")
    if not is_lost:
        remove_images(run)
    log_files(publisher.store, run, result)


def _last_tags(
    publisher: _Publisher, run: Run, result: Result, metrics: dict[str, float]
) -> dict[str, str]:
    """Return the tags that a run gets when all else is there."""
    names = f"{publisher.lineage.experiment or ''} {run.data.tags.get(EXPERIMENTS, '')}".split()
    names = list(dict.fromkeys(names))
    tags = {PICTURES: result.pictures_digest}
    if names:
        tags[EXPERIMENTS] = " ".join(names)[:VALUE_CHARACTERS]
    champion = result.settings.champion
    if champion:
        tags[DATA] = result.compared_on
        tags[METRIC] = champion.metric
    note = run.data.tags.get(NOTE, "")
    is_ours = run.data.tags.get(OUR_NOTE) in (None, digest(note)) or not note
    if is_ours:  # what a user wrote there stays
        tags[NOTE] = describe(result, publisher.lineage, metrics, names)[:VALUE_CHARACTERS]
        tags[OUR_NOTE] = digest(tags[NOTE])
    return tags


def _find_or_create_run(publisher: _Publisher, result: Result) -> Run:
    client = publisher.client
    experiment_id = publisher.experiment.experiment_id
    runs = client.search_runs([experiment_id], f"tags.`{RESULT}` = '{result.digest}'")
    if runs:
        return runs[0]
    name = run_name(result, publisher.lineage)
    return client.create_run(experiment_id, tags=_first_tags(publisher, result), run_name=name)


def _first_tags(publisher: _Publisher, result: Result) -> dict[str, str]:
    """Return the tags that a run is created with."""
    lineage = publisher.lineage
    sequence_number = next(publisher.sequence)
    tags = {}
    for path, md5 in result.hashes.items():
        tags[f"dvc.md5.{valid_name(path)}"[:TAG_CHARACTERS]] = str(md5)
    tags |= {
        RESULT: result.digest,
        SEQUENCE_NUMBER: str(sequence_number),
        "mlflow.runColor": _color(sequence_number),
        "mlflow.source.name": lineage.source,
        "mlflow.source.type": "PROJECT",
        "mlflow.user": lineage.user,
        "git.dirty": lineage.dirty,
    }
    if lineage.commit:
        tags["mlflow.source.git.commit"] = lineage.commit
    if result.settings.images:
        tags["mlflow.loggedImages"] = "true"
    return tags


def _sequence_numbers(client: MlflowClient, experiment_id: str) -> Iterator[int]:
    """Return numbers that go on from the last run's; they say the order of colours, and no more."""
    newest = ["attributes.start_time DESC"]
    runs = client.search_runs([experiment_id], max_results=1, order_by=newest)
    if not runs:
        return itertools.count(0)
    return itertools.count(1 + int(runs[0].data.tags.get(SEQUENCE_NUMBER, 0)))


def _color(sequence_number: int) -> str:
    """Return a colour: hues a golden section of the circle apart, so that neighbours differ."""
    hue = (0.58 + sequence_number * 0.381966) % 1
    lightness = (0.42, 0.55, 0.3)[sequence_number // 5 % 3]
    channels = colorsys.hls_to_rgb(hue, lightness, 0.75)
    return "#" + bytes(int(255 * channel) for channel in channels).hex()


def _find_or_create_experiment(client: MlflowClient, store: Store) -> Experiment:
    found: Any
    if store.experiment_id:
        found = client.get_experiment(store.experiment_id)
        if store.experiment not in ("", found.name):
            says = f"MLFLOW_EXPERIMENT_ID {store.experiment_id} is the experiment {found.name}"
            other = f"and not {store.experiment} as MLFLOW_EXPERIMENT_NAME says"
            raise UserError(f"{says}, {other}: unset one of them")
    else:
        found = client.get_experiment_by_name(store.experiment)
        if found is None:
            happened(client.create_experiment, store.experiment, **_location(store))
            found = client.get_experiment_by_name(store.experiment)
    if found.lifecycle_stage != "active":
        advice = "restore it, or set MLFLOW_EXPERIMENT_NAME"
        raise UserError(f"the experiment {found.name} was deleted in MLflow: {advice}")
    return found


def _location(store: Store) -> dict[str, Any]:
    """Return where a new experiment keeps its artifacts; MLflow's default is the current folder."""
    if store.is_remote:
        return {}
    location = artifact_location(store.folder / safe_name(store.experiment))
    return {"artifact_location": location, "tags": {FOLDER: str(store.folder)}}


def _explain(error: Exception, root: Path, store: Store) -> str:
    """Return what went wrong, where, and how to publish when that is mended."""
    reason = _reason(error)
    reason = " ".join(store.redact(reason).split())[:REASON_CHARACTERS]
    bridge = Path(__file__).resolve().parent
    command = bridge.relative_to(root) if bridge.is_relative_to(root) else bridge
    advice = f"python {command} publishes it, when that is mended"
    return (
        f"cannot publish to {store.redacted_uri}: {reason}\n"
        f"Nothing that was computed is lost; {advice}."
    )


def _reason(error: Exception) -> str:
    """Return what went wrong, without SQL, and with the folder of a disk that is full."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        full = error.filename or tempfile.gettempdir()
        return f"no space is left on the disk of {Path(full).parent}"
    original = getattr(error, "orig", None) or error
    text = re.sub(r"\s*\[(SQL|parameters): .*", "", str(original), flags=re.DOTALL)
    return re.sub(r"\(Background on this error at: \S*\)", "", text).strip()
