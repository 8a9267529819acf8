"""The bridge to MLflow: exactly one complete run for each distinct result.

A run is found by the digest of the result it shows. One that is complete is left alone,
one that is not is finished, and whatever is written twice is written with the same name,
step and time, so that it is there once. Two publishers of one result at one server may
both begin a run; both then keep the same one.
"""

import os

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default waits for minutes
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import json
import tempfile
import time
import uuid
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from PIL import Image

from spirals import paths
from spirals.errors import UserError
from spirals.store import COMPLETE, DIGEST, EXPERIMENTS, FOLDER, PICTURES, create_database, without_password

SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(float), (-1, 2))]),
    outputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
)


def publish(results, source, uri, experiment, folder):
    """Publishes what the store does not have yet. The caller holds the lock of the checkout.

    Args:
        results: see `spirals.results.read_results`.
        source: see `spirals.results.lineage`.
        uri: of the tracking store.
        experiment: its name.
        folder: for artifacts, where no server decides.

    Returns:
        By digest, a dict: run_id, experiment_id.

    Raises:
        UserError: the store is unreachable or refuses.
    """
    try:
        create_database(uri, folder)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient()
        number = _experiment_id(client, experiment, None if uri.startswith("http") else folder)
        mlflow.set_experiment(experiment_id=number)  # where Model.log puts the models
        return {
            result.digest: {
                "run_id": _publish(client, number, experiment, result, source),
                "experiment_id": number,
            }
            for result in results
        }
    except (MlflowException, OSError) as error:
        safe = without_password(uri)
        reason = str(error).replace(uri, safe).splitlines()[0][:300]
        raise UserError(
            f"cannot publish to {safe}: {reason}\nNothing that was computed is lost; the next dvc repro publishes it."
        ) from None


def _experiment_id(client, name, folder):
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            location = str(folder / name) if folder else None
            return client.create_experiment(name, location, {FOLDER: str(folder)} if folder else None)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise UserError(f"the experiment {name} was deleted in MLflow: restore it, or set MLFLOW_EXPERIMENT_NAME")
    return found.experiment_id


def _publish(client, number, experiment, result, source):
    run = _find_or_create(client, number, result, source)
    tags = run.data.tags
    run_id, start = run.info.run_id, run.info.start_time
    if COMPLETE not in tags:
        model_id = _log_model(client, number, run_id, result)
        _log_values(client, run_id, start, result, model_id)
        client.log_inputs(run_id, [_dataset(result)])
    if tags.get(PICTURES) != result.pictures:
        _log_files(client, run_id, start, result)
        client.set_tag(run_id, PICTURES, result.pictures)
    known = tags.get(EXPERIMENTS, "").split()
    if source["experiment"] and source["experiment"] not in known:
        client.set_tag(run_id, EXPERIMENTS, " ".join([source["experiment"], *known])[:5000])
    if COMPLETE not in tags:
        _crown(client, experiment, run_id, model_id, result.metrics["test_accuracy"])
        client.set_terminated(run_id, "FINISHED")
        client.set_tag(run_id, COMPLETE, "true")
    return _settle(client, number, result.digest).info.run_id


def _runs(client, number, digest):
    """Runs of a result, the one to keep first: complete before not, then the oldest."""
    runs = client.search_runs([number], f"tags.`{DIGEST}` = '{digest}'")
    return sorted(runs, key=lambda run: (COMPLETE not in run.data.tags, run.info.start_time, run.info.run_id))


def _find_or_create(client, number, result, source):
    runs = _runs(client, number, result.digest)
    if not runs:
        origin = source["commit"][:7] + "-dirty" * source["dirty"] if source["commit"] else "no-git"
        tags = {DIGEST: result.digest, "git.dirty": str(source["dirty"]).lower()}
        tags |= {f"dvc.md5.{path}": value for path, value in result.hashes.items()}
        if source["commit"]:
            tags["mlflow.source.git.commit"] = source["commit"]
        name = f"{result.model} {source['experiment'] or origin}"
        client.create_run(number, start_time=time.time_ns() // 10**6, tags=tags, run_name=name)
        return _settle(client, number, result.digest)
    return runs[0]


def _settle(client, number, digest):
    """Keeps one run of a result where two publishers have each begun one.

    Everybody keeps the first of the same order, so the last to come leaves one.
    """
    first, *others = _runs(client, number, digest)
    for run in others:
        client.delete_run(run.info.run_id)
    return first


def _log_model(client, number, run_id, result):
    """The net as an MLflow model, once: a model that is not ready is left from a publisher that died."""
    query = {"experiment_ids": [number], "filter_string": f"source_run_id = '{run_id}'"}
    for model in client.search_logged_models(**query):
        if model.status == "READY":
            return model.model_id
        client.delete_logged_model(model.model_id)
    here = Path(__file__).parent
    return mlflow.models.Model.log(
        artifact_path=None,
        name=result.model,
        flavor=mlflow.pyfunc,
        run_id=run_id,
        python_model=str(here / "served.py"),
        code_paths=[str(here)],
        artifacts={"weights": str(result.files[0])},
        model_config={"model": result.model},
        signature=SIGNATURE,
        input_example=np.array([[0.5, 0.5], [-0.5, 0.5]]),
        pip_requirements=[f"mlflow=={mlflow.__version__}", f"numpy=={np.__version__}"],
    ).model_id


def _log_values(client, run_id, start, result, model_id):
    """Parameters, the curve by iteration, and the final values at step 0, where they become bars."""
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in result.params.items()])
    points = [Metric(key, value, start, 0, model_id=model_id) for key, value in result.metrics.items()]
    for iteration, loss, accuracy in result.curve:
        step = int(iteration)
        points += [Metric("loss", loss, start + step, step), Metric("accuracy", accuracy, start + step, step)]
    for begin in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[begin : begin + 1000])


def _dataset(result):
    path = str(paths.DATA)
    dataset = Dataset("spirals", result.hashes[path], "local", json.dumps({"uri": path}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _log_files(client, run_id, start, result):
    """The files, and the frames under the names that `MlflowClient.log_image` gives to images with steps.

    `log_image` itself adds a random part to the name, and would double them.
    """
    for file in result.files:
        client.log_artifact(run_id, str(file))
    with tempfile.TemporaryDirectory() as folder:
        for percent, frame in result.frames.items():
            unique = uuid.UUID(result.digest[:32])
            image = Path(folder, f"boundary+step+{percent}+timestamp+{start + percent}+{unique}.png")
            image.write_bytes(frame.read_bytes())
            Image.open(frame).save(image.with_name(f"{image.stem}+compressed.webp"))
        client.log_artifacts(run_id, folder, "images")
    client.set_tag(run_id, "mlflow.loggedImages", "true")


def _crown(client, name, run_id, model_id, test_accuracy):
    """Registers the model and gives it the alias champion if it is better than the champion."""
    try:
        champion = client.get_model_version_by_alias(name, "champion")
        if test_accuracy <= float(champion.tags["test_accuracy"]):
            return
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    version = (
        versions[0]
        if versions
        else client.create_model_version(
            name, f"models:/{model_id}", run_id, {"test_accuracy": repr(test_accuracy)}, model_id=model_id
        )
    )
    client.set_registered_model_alias(name, "champion", version.version)
