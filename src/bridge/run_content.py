"""Write what a run shows: parameters, metrics, curves, the data set, files, images and the model.

Each function may be called again for the same run, after a kill, and changes nothing then: whatever
is written twice is written under the same name, step and time.
"""

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, MlflowException
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
)
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from PIL import Image

from bridge.files import digest
from bridge.model_format import copy, write_model
from bridge.results import Numbers, Result, StepImage
from bridge.store import Store

UPLOADS = 8  # files on their way to a server at once
# Limits of MLflow. A batch has at most 1000 values, parameters included.
BATCH_METRICS = 900
BATCH_PARAMS = 100
REFUSED_IN_MODEL = "[/:.%\"']"  # characters of a model's name
KEY_CHARACTERS = 250
VALUE_CHARACTERS = 6000
DIGEST_CHARACTERS = 36
# Limits of WebP: pixels of a side, and Pillow's modes that it can hold.
WEBP_PIXELS = 16_383
PLAIN_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def log_model(
    client: MlflowClient, store: Store, run: Run, result: Result, *, is_fresh: bool = False
) -> str:
    """Log the trained model of a result, once; return its ID.

    One that is there was left by a publisher that was killed: its files are written again.
    """
    models = [] if is_fresh else _logged_models(client, run)
    model = models[0] if models else _create_model(client, run, result)
    model_id, location = model.model_id, model.artifact_location
    if model.status == LoggedModelStatus.READY:  # not while its files are written
        client.finalize_logged_model(model_id, "FAILED")
    with tempfile.TemporaryDirectory() as folder:
        description = Model(location, run.info.run_id, model_uuid=model_id, model_id=model_id)
        write_model(Path(folder), description, result)
        upload(store, location, Path(folder))
    client.finalize_logged_model(model_id, "READY")
    if not _is_linked(run, model_id):
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step=0)])
    return str(model_id)


def _is_linked(run: Run, model_id: str) -> bool:
    """Return whether a model is among the outputs of a run."""
    outputs = run.outputs.model_outputs if run.outputs else []
    return any(output.model_id == model_id for output in outputs)


def _logged_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    filter_string = f"source_run_id = '{run.info.run_id}'"
    return list(client.search_logged_models([run.info.experiment_id], filter_string))


def _create_model(client: MlflowClient, run: Run, result: Result) -> LoggedModel:
    params = {}
    for key, value in result.params.items():
        params[shorten(key)] = str(value)
    tags = {"mlflow.note.content": f"Of the run {run.info.run_name}"}
    name = re.sub(REFUSED_IN_MODEL, "-", result.run) or "model"
    return client.create_logged_model(
        run.info.experiment_id, name, run.info.run_id, tags=tags, params=params
    )


def link_metrics(
    client: MlflowClient, run: Run, result: Result, numbers: Numbers, model_id: str
) -> None:
    """Log the final metrics, and link them to a model.

    Those that the run has already are not doubled: they have the same step and time.
    """
    metrics = _final_metrics(run, result, numbers, model_id)
    for batch in _batches(metrics, BATCH_METRICS):
        client.log_batch(run.info.run_id, metrics=batch)


def can_go_on(run: Run, result: Result, numbers: Numbers) -> bool:
    """Return whether a run that was begun can become that of a result.

    It cannot if mlflow.yaml was changed meanwhile: MLflow takes no other value of a parameter, and
    values of other names would stay.
    """
    names = set(map(shorten, [*numbers.metrics, *numbers.curves]))
    has_our_params = run.data.params.items() <= _params(result).items()
    return has_our_params and run.data.metrics.keys() <= names


def log_values(
    client: MlflowClient, run: Run, result: Result, numbers: Numbers, model_id: str | None
) -> None:
    """Log parameters, the data set, curves by step, and final values.

    MLflow draws a metric with one value as a bar, so a final value is logged once, at step 0. One
    that has the name of a curve is the last point of that curve.

    The time of a value comes from the start of the run and its step, not from the clock: for
    MLflow, two values with the same step and time are one.
    """
    run_id, start = run.info.run_id, run.info.start_time
    metrics = _final_metrics(run, result, numbers, model_id)
    for name, curve in numbers.curves.items():
        key = shorten(name)
        for step, value in curve.items():
            metrics.append(Metric(key, value, start + step, step))
    params = [Param(name, value) for name, value in _params(result).items()]
    batches = zip_longest(_batches(metrics, BATCH_METRICS), _batches(params, BATCH_PARAMS))
    for some_metrics, some_params in batches:
        client.log_batch(run_id, some_metrics or [], some_params or [])
    datasets = _datasets(result)
    if datasets:
        _log_datasets(client, run_id, datasets)


def _final_metrics(
    run: Run, result: Result, numbers: Numbers, model_id: str | None
) -> list[Metric]:
    about: dict[str, Any] = {"model_id": model_id}
    data = _datasets(result)
    if data:
        about |= {"dataset_name": data[0].name, "dataset_digest": data[0].digest}
    start = run.info.start_time
    metrics = []
    for name, value in numbers.metrics.items():
        step = numbers.final_steps.get(name, 0)  # one that ends a curve belongs to it
        metrics.append(Metric(shorten(name), value, start + step, step, **about))
    return metrics


def _params(result: Result) -> dict[str, str]:
    params = {}
    for name, value in result.params.items():
        params[shorten(name)] = str(value)[:VALUE_CHARACTERS]
    return params


def shorten(name: str) -> str:
    """Return a name as long as MLflow takes it; two names stay two."""
    if len(name) <= KEY_CHARACTERS:
        return name
    digits = digest(name)[:8]
    return f"{name[: KEY_CHARACTERS - 9]}-{digits}"


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _datasets(result: Result) -> list[Dataset]:
    datasets: dict[tuple[str, str], Dataset] = {}
    for path, md5 in result.data.items():
        source = json.dumps({"uri": path})
        name = Path(path).stem
        digits = (md5 or "")[:DIGEST_CHARACTERS]
        dataset = Dataset(name, digits, "local", source)
        datasets.setdefault((name, digits), dataset)
    return list(datasets.values())


def _log_datasets(client: MlflowClient, run_id: str, datasets: list[Dataset]) -> None:
    training = InputTag("mlflow.data.context", "training")
    inputs = [DatasetInput(dataset, [training]) for dataset in datasets]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException:  # another run made the same data set at this moment: now it is there
        client.log_inputs(run_id, inputs)


def log_files(store: Store, run: Run, result: Result) -> None:
    """Log the files that are kept with a run, and its images with steps."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in result.kept_files():
            copy(result.root / path, folder / path)
        for image in result.images():
            _write_image(folder / "images", image, run.info.start_time, result.digest)
        upload(store, run.info.artifact_uri, folder)


def _write_image(folder: Path, image: StepImage, start: int, result_digest: str) -> None:
    """Write an image under the name that `MlflowClient.log_image` gives to those with steps.

    `log_image` itself adds a random part to the name, and would double the image of a run that is
    published again.
    """
    folder.mkdir(exist_ok=True)
    key = image.name.replace("/", "#")
    timestamp, unique = start + image.step, _unique_part(result_digest)
    stem = f"{key}+step+{image.step}+timestamp+{timestamp}+{unique}"
    with Image.open(image.path) as opened:
        picture = _as_colours(opened)
        if image.path.suffix == ".png":
            shutil.copyfile(image.path, folder / f"{stem}.png")
        else:
            picture.save(folder / f"{stem}.png")
        picture.thumbnail((WEBP_PIXELS, WEBP_PIXELS))  # only if it is larger
        picture.save(folder / f"{stem}+compressed.webp", method=0)


def _as_colours(picture: Image.Image) -> Image.Image:
    """Return a picture in colours or greys that PNG and WebP can hold."""
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel
        return picture.convert("L")
    return picture if picture.mode in PLAIN_MODES else picture.convert("RGB")


def _unique_part(result_digest: str) -> uuid.UUID:
    """Return the part of an image's name that says that the bridge wrote it."""
    return uuid.UUID(result_digest[:32])


def remove_images(run: Run, result: Result) -> None:
    """Remove the images that the bridge wrote: else steps that are no longer drawn would stay.

    Those that a user has added to the run are left.
    """
    repository: Any = get_artifact_repository(run.info.artifact_uri)
    paths = [file.path for file in repository.list_artifacts("images")]
    unique = str(_unique_part(result.digest))
    ours = [path for path in paths if unique in path]
    if paths == ours:
        ours = ["images"] if ours else []  # all of them, in one request
    for path in ours:
        repository.delete_artifacts(path)


def upload(store: Store, location: str, folder: Path) -> None:
    """Copy every file of a folder to a location: one by one, or several at once to a server."""
    repository: Any = get_artifact_repository(location)
    if not store.is_remote:
        repository.log_artifacts(str(folder))
        return
    files, parents = [], []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.append(str(path))
            parents.append(os.path.dirname(path.relative_to(folder)))
    with pool(UPLOADS) as workers:
        list(workers.map(repository.log_artifact, files, parents))


@contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads; what waits is dropped when one of them fails."""
    with ThreadPoolExecutor(threads) as workers:
        try:
            yield workers
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
