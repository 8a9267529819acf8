"""Write what a run shows: parameters, metrics, curves, the data set, files, images and the model.

Each function may be called again for the same run, after a kill, and changes nothing then: whatever
is written twice is written under the same name, step and time.
"""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from PIL import Image

from bridge.model_format import copy, write_model
from bridge.results import Numbers, Result, StepImage
from bridge.store import Store

UPLOADS = 8  # files on their way to a server at once
# MLflow's limits: of a batch, and of characters.
BATCH_METRICS = 900  # of 1000 values, with the parameters
BATCH_PARAMS = 100
KEY_CHARACTERS = 250
VALUE_CHARACTERS = 6000
DIGEST_CHARACTERS = 36


def log_model(client: MlflowClient, store: Store, run: Run, result: Result) -> str:
    """Log the trained model of a result, once; return its ID.

    One that is there was left by a publisher that was killed: its files are written again.
    """
    model_id, location = _logged_model(client, run, result)
    with tempfile.TemporaryDirectory() as folder:
        model = Model(location, run.info.run_id, model_uuid=model_id, model_id=model_id)
        write_model(Path(folder), model, result)
        upload(store, location, Path(folder))
    client.finalize_logged_model(model_id, "READY")
    linked = run.outputs.model_outputs if run.outputs else []
    if model_id not in [output.model_id for output in linked]:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def _logged_model(client: MlflowClient, run: Run, result: Result) -> tuple[str, str]:
    """Return ID and location of the logged model of a run, which is created if it is not there."""
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    models = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    if models:
        return models[0].model_id, models[0].artifact_location
    params = {key: str(value) for key, value in result.params.items()}
    tags = {"mlflow.note.content": f"Of the run {run.info.run_name}"}
    name = result.run or "model"
    made = client.create_logged_model(experiment_id, name, run_id, tags, params)
    return made.model_id, made.artifact_location


def log_values(
    client: MlflowClient, run: Run, result: Result, numbers: Numbers, model_id: str | None
) -> None:
    """Log parameters, the data set, curves by step, and final values at step 0: they become bars.

    The time of a value comes from the start of the run and its step, not from the clock: MLflow
    takes one with the same step and time for the same.
    """
    run_id, start = run.info.run_id, run.info.start_time
    data = _datasets(result)
    about: dict[str, Any] = {"model_id": model_id}
    if data:
        about |= {"dataset_name": data[0].name, "dataset_digest": data[0].digest}
    metrics = []
    for name, value in numbers.metrics.items():
        metrics.append(Metric(name, value, start, 0, **about))
    for name, curve in numbers.curves.items():
        for step, value in curve.items():
            metrics.append(Metric(name, value, start + step, step))
    params = []
    for name, value in result.params.items():
        params.append(Param(name[:KEY_CHARACTERS], str(value)[:VALUE_CHARACTERS]))
    for batch in _batches(metrics, BATCH_METRICS):
        client.log_batch(run_id, metrics=batch)
    for batch in _batches(params, BATCH_PARAMS):
        client.log_batch(run_id, params=batch)
    _log_datasets(client, run_id, data)


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _datasets(result: Result) -> list[Dataset]:
    datasets = []
    for path, md5 in result.data.items():
        source = json.dumps({"uri": path})
        digest = (md5 or "")[:DIGEST_CHARACTERS]
        datasets.append(Dataset(Path(path).stem, digest, "local", source))
    return datasets


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


def _write_image(folder: Path, image: StepImage, start: int, digest: str) -> None:
    """Write an image under the name that `MlflowClient.log_image` gives to those with steps.

    `log_image` itself adds a random part to the name, and would double the image of a run that is
    published again.
    """
    folder.mkdir(exist_ok=True)
    key = image.name.replace("/", "#")
    unique = uuid.UUID(digest[:32])
    name = f"{key}+step+{image.step}+timestamp+{start + image.step}+{unique}"
    with Image.open(image.path) as picture:
        picture.save(folder / f"{name}+compressed.webp", method=0)
        if image.path.suffix == ".png":
            shutil.copy(image.path, folder / f"{name}.png")
        else:
            picture.save(folder / f"{name}.png")


def remove_images(run: Run) -> None:
    """Remove the images of a run: those of steps that are no longer drawn would stay."""
    repository: Any = get_artifact_repository(run.info.artifact_uri)
    repository.delete_artifacts("images")


def upload(store: Store, location: str, folder: Path) -> None:
    """Copy every file of a folder to a location: one by one, or several at once to a server."""
    repository: Any = get_artifact_repository(location)
    if not store.is_remote:
        repository.log_artifacts(str(folder))
        return
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    parents = [os.path.dirname(path.relative_to(folder)) for path in files]
    with pool(UPLOADS) as workers:
        list(workers.map(repository.log_artifact, map(str, files), parents))


@contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads; what waits is dropped when one of them fails."""
    with ThreadPoolExecutor(threads) as workers:
        try:
            yield workers
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
