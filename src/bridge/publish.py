"""Publish results to MLflow: exactly one complete run for each, wherever a kill interrupts it.

For each result, in this order:

1. Read its numbers: what is wrong with them is found before there is a run.
2. Look for its run by the tag bridge.result. If the run is whole, stop here.
3. Take its lock: one publisher at a time works on a result (locks.py). Then look for the run again:
   another publisher may have been at work meanwhile.
4. Create the run with the tag bridge.result, if there is none.
5. Log the model, if the result has one: the metrics of step 6 are linked to it.
6. Log parameters, metrics, curves and the data set.
7. Log files and images. While old and new ones are mixed, the tag with their digest is empty.
8. Set the status FINISHED. It proves nothing: MLflow also sets it on half-written runs.
9. Write the description, the digest of the pictures and the tag bridge.complete, in one batch.
   From now on the run counts as complete.

And after all results:

10. Give the best models their aliases (champion.py).

If it is killed before 9, step 2 of the next publication finds an incomplete run, and steps 5 to 9
write everything again, with the same names, steps and times, so that nothing is there twice
(run_content.py). If it is killed before 10, the next publication sees that the best run lacks its
alias.
"""

import colorsys
import errno
import itertools
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import sqlalchemy
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Experiment, LoggedModelStatus, Run, RunTag

from bridge.champion import update_champion
from bridge.database import artifacts_there, champion_tags, model_there, prepare_database
from bridge.description import describe, run_name
from bridge.errors import UserError
from bridge.files import digest, main_checkout
from bridge.init import bridge_command
from bridge.lineage import Lineage
from bridge.locks import apply_unless_raced, publish_lock
from bridge.names import valid_name
from bridge.results import Numbers, Result
from bridge.run_content import (
    UPLOADS,
    can_go_on,
    link_metrics,
    log_files,
    log_model,
    log_values,
    pool,
    remove_images,
    shorten,
)
from bridge.store import (
    COMPLETE,
    EXPERIMENTS,
    FOLDER,
    MODEL,
    PICTURES,
    RESULT,
    PublishedRun,
    Store,
    artifact_location,
    safe_name,
)
from bridge.validation import check_tags

SEQUENCE_NUMBER = "bridge.order"  # tag of a run: how many were published before it
NOTE = "mlflow.note.content"  # tag of a run: its description
OUR_NOTE = "bridge.note"  # tag of a run: digest of the description that the bridge wrote
MOST_NAMES = 50  # of DVC experiments that had one result
VALUE_CHARACTERS = 5000  # of a tag's value
REASON_CHARACTERS = 300

# MLflow's own errors, those of its database, of the disk, and of a package that it misses.
STORE_ERRORS = (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ImportError)


@dataclass
class _Publisher:
    """What all results are published with."""

    client: MlflowClient
    store: Store
    experiment: Experiment
    lineage: Lineage
    sequence: Iterator[int] | None = None

    @property
    def registry(self) -> str:
        return safe_name(self.experiment.name)


@dataclass(frozen=True)
class _RunState:
    """The run of a result, and what it lacks."""

    run: Run
    is_fresh: bool = False  # created just now, so it is empty
    is_lost: bool = False  # its artifacts were deleted
    lacks_model: bool = False  # or the files of the model

    @property
    def is_incomplete(self) -> bool:
        """Whether the run still lacks the tag bridge.complete."""
        return COMPLETE not in self.run.data.tags

    def has_pictures(self, result: Result) -> bool:
        return bool(self.run.data.tags.get(PICTURES) == result.pictures_digest)

    def is_whole(self, result: Result, experiment: str | None) -> bool:
        """Return whether the run lacks nothing, the name of the DVC experiment included."""
        names = self.run.data.tags.get(EXPERIMENTS, "").split()
        is_named = experiment is None or experiment in names
        is_there = not (self.is_incomplete or self.is_lost or self.lacks_model)
        is_compared = champion_tags(result).items() <= self.run.data.tags.items()
        return is_there and is_named and is_compared and self.has_pictures(result)


def publish(results: list[Result], lineage: Lineage, store: Store) -> dict[str, PublishedRun]:
    """Publish results, and return their runs by digest.

    Args:
        results: checked, so that MLflow refuses nothing of them (validation.py).
        lineage: where they come from.
        store: where they go to.

    Raises:
        UserError: the store is unreachable, or refuses.
    """
    folder = store.file.parent if store.file else lineage.root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with chdir(folder):  # the address of a database may be said from there
            return _publish_all(results, lineage, store)
    except STORE_ERRORS as error:
        raise UserError(_explain(error, lineage.root, store)) from None
    finally:
        with suppress(OSError):  # MLflow before 3.6 makes it, and leaves it empty
            (folder / "mlruns").rmdir()


def _publish_all(results: list[Result], lineage: Lineage, store: Store) -> dict[str, PublishedRun]:
    prepare_database(store)
    mlflow.set_tracking_uri(store.uri)  # the client is not enough: models:/ is looked up here
    client = MlflowClient(store.uri)
    experiment = _find_or_create_experiment(client, store)
    publisher = _Publisher(client, store, experiment, lineage)
    with pool(UPLOADS if store.is_remote else 1) as workers:  # a server answers several at once
        runs = list(workers.map(partial(_publish_result, publisher), results))
    experiment_id = experiment.experiment_id
    update_champion(client, store, experiment.name, experiment_id, results, lineage)
    return {result.digest: run for result, run in zip(results, runs, strict=True)}


def _publish_result(publisher: _Publisher, result: Result) -> PublishedRun:
    """Publish one result; the steps are those of the module's docstring."""
    numbers = result.load_numbers()  # 1
    state = _find_run(publisher, result)  # 2
    if state and state.is_whole(result, publisher.lineage.experiment):
        return _published(state.run, {}, is_new=False)
    with publish_lock(publisher.client, publisher.store, publisher.registry, result.digest):  # 3
        state = _find_run(publisher, result)
        if state and state.is_incomplete and not can_go_on(state.run, result, numbers):
            publisher.client.delete_run(state.run.info.run_id)
            state = None
        state = state or _create_run(publisher, result)  # 4
        tags = _write(publisher, state, result, numbers)  # 5 to 9
    return _published(state.run, tags, is_new=state.is_incomplete)


def _published(run: Run, tags: dict[str, str], *, is_new: bool) -> PublishedRun:
    tags = {**run.data.tags, **tags}
    return PublishedRun(run.info.run_id, run.info.experiment_id, tags, is_new)


def _write(
    publisher: _Publisher, state: _RunState, result: Result, numbers: Numbers
) -> dict[str, str]:
    """Write what is missing of a run, and return the tags that are written last."""
    client, store, run = publisher.client, publisher.store, state.run
    run_id = run.info.run_id
    tags = _last_tags(publisher, run, result, numbers.metrics)
    if result.settings.model and (state.is_incomplete or state.lacks_model):
        tags[MODEL] = log_model(client, store, run, result, is_fresh=state.is_fresh)  # 5
    if state.lacks_model:
        link_metrics(client, run, result, numbers, tags[MODEL])
    if state.is_incomplete:
        log_values(client, run, result, numbers, tags.get(MODEL))  # 6
    if state.is_lost or not state.has_pictures(result):
        if not state.is_fresh:
            client.set_tag(run_id, PICTURES, "")
            remove_images(run, result)
        log_files(store, run, result)  # 7
    if state.is_incomplete:
        client.set_terminated(run_id, "FINISHED")  # 8
    complete = {**tags, COMPLETE: "true"}
    batch = [RunTag(key, value) for key, value in complete.items()]
    client.log_batch(run_id, tags=batch)  # 9
    return tags


def _last_tags(
    publisher: _Publisher, run: Run, result: Result, metrics: dict[str, float]
) -> dict[str, str]:
    """Return the tags that a run gets when all else is there."""
    others = run.data.tags.get(EXPERIMENTS, "")
    names = f"{publisher.lineage.experiment or ''} {others}".split()
    names = list(dict.fromkeys(names))
    tags = {PICTURES: result.pictures_digest, **champion_tags(result)}
    if names:
        tags[EXPERIMENTS] = " ".join(names[:MOST_NAMES])
    note = run.data.tags.get(NOTE)
    if note is None or run.data.tags.get(OUR_NOTE) == digest(note):  # what a user wrote there stays
        description = describe(result, publisher.lineage, metrics, names)
        tags[NOTE] = description[:VALUE_CHARACTERS]
        tags[OUR_NOTE] = digest(tags[NOTE])
    return tags


def _find_run(publisher: _Publisher, result: Result) -> _RunState | None:
    """Return the run of a result, and what is missing of it; None if there is no run."""
    experiment_ids = [publisher.experiment.experiment_id]
    runs = publisher.client.search_runs(experiment_ids, f"tags.`{RESULT}` = '{result.digest}'")
    if not runs:
        return None
    run = runs[0]
    is_complete = COMPLETE in run.data.tags
    needs_model = is_complete and bool(result.settings.model)
    return _RunState(
        run,
        is_lost=not artifacts_there(run.info.artifact_uri),
        lacks_model=needs_model and not _has_model(publisher, run),
    )


def _has_model(publisher: _Publisher, run: Run) -> bool:
    """Return whether a run's logged model is there, with its files."""
    model_id = run.data.tags.get(MODEL)
    if not model_id:
        return False
    with suppress(MlflowException):  # it was deleted
        model = publisher.client.get_logged_model(model_id)
        if model.status != LoggedModelStatus.READY:
            return False
        if not publisher.store.is_remote:
            return model_there(model.artifact_location)
        files = publisher.client.list_logged_model_artifacts(model_id)
        return any(file.path == "MLmodel" for file in files)
    return False


def _create_run(publisher: _Publisher, result: Result) -> _RunState:
    client, experiment_id = publisher.client, publisher.experiment.experiment_id
    name = run_name(result, publisher.lineage)
    tags = _first_tags(publisher, result)
    check_tags(tags)
    run = client.create_run(experiment_id, tags=tags, run_name=name)
    return _RunState(run, is_fresh=True)


def _first_tags(publisher: _Publisher, result: Result) -> dict[str, str]:
    """Return the tags that a run is created with."""
    lineage = publisher.lineage
    sequence_number = _next_number(publisher)
    tags = {}
    for path, md5 in result.hashes.items():
        tags[shorten(f"dvc.md5.{valid_name(path)}")] = str(md5)
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


def _next_number(publisher: _Publisher) -> int:
    """Return how many runs were published before, as far as the last one knows.

    It says the order of the colours, and no more: two at once may have the same.
    """
    if publisher.sequence is None:
        newest = ["attributes.start_time DESC"]
        experiment_ids = [publisher.experiment.experiment_id]
        runs = publisher.client.search_runs(experiment_ids, max_results=1, order_by=newest)
        last = runs[0].data.tags.get(SEQUENCE_NUMBER, "") if runs else ""
        first = int(last) + 1 if last.isdecimal() else len(runs)
        publisher.sequence = itertools.count(first)
    return next(publisher.sequence)


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
            apply_unless_raced(client.create_experiment, store.experiment, **_location(store))
            found = client.get_experiment_by_name(store.experiment)
    if found.lifecycle_stage != "active":
        advice = "restore it, or set MLFLOW_EXPERIMENT_NAME"
        raise UserError(f"the experiment {found.name} was deleted in MLflow: {advice}")
    moved_from = found.tags.get(FOLDER, str(store.folder))
    if Path(moved_from).parent != store.folder.parent and not store.is_remote:
        reason = "and the bridge does not know the tables of this version of MLflow"
        advice = f"move it back, or move {store.file} away, and all is published again"
        raise UserError(f"the store was moved here from {moved_from}, {reason}: {advice}")
    return found


def _location(store: Store) -> dict[str, Any]:
    """Return where a new experiment keeps its artifacts; MLflow's default is the current folder."""
    if store.is_remote:
        return {}
    location = artifact_location(store.folder / safe_name(store.experiment))
    return {"artifact_location": location, "tags": {FOLDER: str(store.folder)}}


def _explain(error: Exception, root: Path, store: Store) -> str:
    """Return what went wrong, where, and how to publish when that is mended."""
    reason = " ".join(store.redact(_reason(error, store)).split())[:REASON_CHARACTERS]
    advice = f"when that is mended, {bridge_command(root)} publishes it"
    if main_checkout(root) != root:  # DVC throws away an experiment that fails in its own folder
        advice = "when that is mended, run the experiment again: its stages come from the cache"
    return (
        f"cannot publish to {store.redacted_uri}: {reason}\n"
        f"Nothing that was computed is lost; {advice}."
    )


def _reason(error: Exception, store: Store) -> str:
    """Return what went wrong, without SQL, and with the disk that is full."""
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if is_full or "disk is full" in str(error) or "No space left" in str(error):
        return f"no space is left on the disk of {_fullest([store.folder, _temporary()])}"
    original = getattr(error, "orig", None) or error
    text = re.sub(r"\s*\[(SQL|parameters): .*", "", str(original), flags=re.DOTALL)
    return re.sub(r"\(Background on this error at: \S*\)", "", text).strip()


def _temporary() -> Path:
    """Return the folder of temporary files; where none can be written, it is the usual one."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path("/tmp")


def _fullest(folders: list[Path]) -> Path:
    """Return the folder whose disk has the least space."""
    there = [folder if folder.exists() else folder.parent for folder in folders]
    return min(there, key=lambda folder: shutil.disk_usage(folder).free)
