"""The bridge to MLflow: exactly one complete run for each distinct result.

A run is found by the digest of the result it shows. One that is complete is left alone,
one that is not is finished, and whatever is written twice is written with the same name,
step and time, so that it is there once.
"""

import os

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the defaults wait for minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import colorsys
import json
import re
import shutil
import socket
import tempfile
import time
import uuid
from contextlib import chdir, contextmanager, nullcontext, suppress
from pathlib import Path

import mlflow
import numpy as np
from filelock import FileLock
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import Schema, TensorSpec
from PIL import Image
from spirals.store import COMPLETE, DIGEST, EXPERIMENTS, FOLDER, PICTURES, artifacts_there
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline import paths
from pipeline.errors import UserError
from pipeline.files import read_curve, replacing

PATIENCE = 120  # seconds until another publisher that shows no progress is taken for dead
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(float), (-1, 2))]),
    outputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
)


def publish(results, source, store):
    """Publishes what the store does not have yet, one publisher at a time.

    Args:
        results: see `spirals.results.read_results`.
        source: see `spirals.results.lineage`.
        store: see `spirals.store.Store`.

    Returns:
        By digest, a dict: run_id, experiment_id, new.

    Raises:
        UserError: the store is unreachable or refuses.
    """
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(store.folder / ".lock", timeout=5 * PATIENCE):
            if store.file:
                _create_database(store.file)
            mlflow.set_tracking_uri(store.uri)  # the client is not enough: models:/ is looked up here
            client = MlflowClient()
            registry = re.sub(r"[^\w.-]", "-", store.experiment).lstrip(".") or "-"
            with nullcontext() if store.file else _alone_at(client, registry, store.folder):
                number = _experiment_id(client, store, store.folder / registry)
                return {result.digest: _publish(client, number, registry, result, source) for result in results}
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = " ".join(str(error).replace(store.uri, store.public).split())[:300]
        advice = "python src/track.py publishes it."
        if "file is not a database" in reason or "database disk image is malformed" in reason:
            advice = f"move {paths.shown(store.file)} away, and python src/track.py publishes it anew."
        raise UserError(
            f"cannot publish to {store.public}: {reason}\nNothing that was computed is lost; {advice}"
        ) from None


def _create_database(file):
    """Makes the tables of a new database, aside, and puts the whole file in place.

    MLflow makes them in place, where two at once, or a kill half-way, leave a database
    that never works again. It commits 70 times; that none of them waits for the disk
    saves a second or more.
    """

    def hurry(connection, _):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")  # no file of its own, that a kill would leave behind

    if not file.exists():
        event.listen(Engine, "connect", hurry)
        with replacing(file) as temporary, chdir(file.parent):
            MlflowClient(f"sqlite:///{temporary}").search_experiments()
            with open(temporary, "rb+") as made:
                os.fsync(made.fileno())
        event.remove(Engine, "connect", hurry)


@contextmanager
def _alone_at(client, registry, folder):
    """One publisher at a time at one server.

    The name of a registered model is unique: whoever can create one of this name goes
    ahead. The description says who that is. A publisher that was killed leaves it behind.
    """
    name, holder = f"{registry}.publishing", f"{socket.gethostname()}:{folder}"
    seen, since = None, 0
    while True:
        try:
            client.create_registered_model(name, description=holder)
            break
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for other in client.search_registered_models(f"name = '{name}'"):
            if other.creation_timestamp != seen:
                seen, since = other.creation_timestamp, time.monotonic()
            if other.description == holder or time.monotonic() - since > PATIENCE:
                client.delete_registered_model(name)
            else:
                time.sleep(0.2)
    try:
        yield
    finally:
        with suppress(MlflowException):
            client.delete_registered_model(name)


def _experiment_id(client, store, location):
    """The number of the experiment, which is made if it is not there, its artifacts at `location`."""
    found = client.get_experiment_by_name(store.experiment)
    if found is None and store.uri.startswith("http"):
        return client.create_experiment(store.experiment)
    if found is None:  # an explicit location: MLflow's default is in the working directory
        return client.create_experiment(store.experiment, str(location), {FOLDER: str(store.folder)})
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {store.experiment} was deleted in MLflow: restore it, or set MLFLOW_EXPERIMENT_NAME"
        )
    return found.experiment_id


def _publish(client, number, registry, result, source):
    run = _find_or_create(client, number, result, source)
    run_id, start, tags = run.info.run_id, run.info.start_time, run.data.tags
    new = COMPLETE not in tags
    lost = not artifacts_there(run.info.artifact_uri)
    if new or lost:
        model_id = _log_model(client, run, result)
    if new:
        _log_values(client, run_id, start, result, model_id)
        client.log_inputs(run_id, [_dataset(result)])
    if lost or tags.get(PICTURES) != result.pictures_digest:
        client.set_tag(run_id, PICTURES, "")  # from here to the end they are old and new
        if PICTURES in tags and not lost:  # frames of moments that are no longer drawn would stay
            get_artifact_repository(run.info.artifact_uri).delete_artifacts("images")
        _log_files(client, run_id, start, result)
    if new:
        _crown(client, registry, run_id, model_id, result.metrics["test_accuracy"])
        client.set_terminated(run_id, "FINISHED")
    done = {PICTURES: result.pictures_digest, COMPLETE: "true"}
    if source["experiment"]:
        names = dict.fromkeys([source["experiment"], *tags.get(EXPERIMENTS, "").split()])
        done[EXPERIMENTS] = " ".join(names)[:5000]
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in done.items()])
    return {"run_id": run_id, "experiment_id": number, "new": new}


def _find_or_create(client, number, result, source):
    """The run of a result."""
    if runs := client.search_runs([number], f"tags.`{DIGEST}` = '{result.digest}'"):
        return runs[0]
    commit = source["commit"]
    origin = commit[:7] + source["dirty"] * f"-dirty-{result.digest[:4]}" if commit else "no-git"
    tags = {
        DIGEST: result.digest,
        **{f"dvc.md5.{path}": value for path, value in result.hashes.items()},
        **({"mlflow.source.git.commit": commit} if commit else {}),
        "git.dirty": str(source["dirty"]).lower(),
        "mlflow.runColor": _color(result),
        "mlflow.loggedImages": "true",
    }
    return client.create_run(number, tags=tags, run_name=f"{result.model} {source['experiment'] or origin}")


def _color(result):
    """Warm for the linear model, cold for the net; MLflow's own choice may be one colour for both."""
    hue = int(result.digest[:4], 16) / 2**16
    hue = 0.15 * hue if result.model == "linear" else 0.35 + 0.45 * hue
    return "#" + bytes(int(255 * channel) for channel in colorsys.hls_to_rgb(hue, 0.4, 0.7)).hex()


def _log_model(client, run, result):
    """The net as an MLflow model, once: one that is there was left by a publisher that died."""
    number, run_id = run.info.experiment_id, run.info.run_id
    models = client.search_logged_models([number], f"source_run_id = '{run_id}'")
    model = models[0] if models else client.create_logged_model(number, result.model, run_id)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            f"{folder}/model",
            mlflow_model=Model(model.artifact_location, run_id, model_uuid=model.model_id, model_id=model.model_id),
            loader_module="spirals.served",
            data_path=str(result.weights),
            code_paths=[str(Path(__file__).parent)],
            signature=SIGNATURE,
            input_example=np.array([[0.5, 0.5], [-0.5, 0.5]]),
            pip_requirements=[f"mlflow=={mlflow.__version__}", f"numpy=={np.__version__}"],
        )
        client.log_model_artifacts(model.model_id, f"{folder}/model")
    client.finalize_logged_model(model.model_id, "READY")
    if not (run.outputs and run.outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model.model_id


def _log_values(client, run_id, start, result, model_id):
    """Parameters, the curve by iteration, and the final values at step 0, where they become bars."""
    params = [Param(key, str(value)) for key, value in result.params.items()]
    points = [Metric(key, value, start, 0, model_id=model_id) for key, value in result.metrics.items()]
    for iteration, loss, accuracy in read_curve(result.curve).tolist():
        step = int(iteration)
        points += [Metric("loss", loss, start + step, step), Metric("accuracy", accuracy, start + step, step)]
    for begin in range(0, len(points), 900):  # a batch has room for 1000 values, these and the parameters
        client.log_batch(run_id, points[begin : begin + 900], params)


def _dataset(result):
    path = str(paths.DATA)
    dataset = Dataset("spirals", result.hashes[path], "local", json.dumps({"uri": path}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _log_files(client, run_id, start, result):
    """The files, and the frames under the names that `MlflowClient.log_image` gives to images with steps.

    `log_image` itself adds a random part to the name, and would double them.
    """
    unique = uuid.UUID(result.digest[:32])
    with tempfile.TemporaryDirectory() as folder:
        for file in [result.weights, result.curve, *result.pictures]:
            shutil.copy(file, folder)
        Path(folder, "images").mkdir()
        for frame in result.frames:
            step = int(frame.stem)
            name = f"{folder}/images/boundary+step+{step}+timestamp+{start + step}+{unique}"
            shutil.copy(frame, f"{name}.png")
            Image.open(frame).save(f"{name}+compressed.webp", method=0)
        client.log_artifacts(run_id, folder)


def _crown(client, name, run_id, model_id, test_accuracy):
    """Registers the model and gives it the alias champion if it is better than the champion."""
    registered = client.search_registered_models(f"name = '{name}'") or [client.create_registered_model(name)]
    if champion := registered[0].aliases.get("champion"):
        version = client.get_model_version(name, champion)
        better = test_accuracy > float(version.tags.get("test_accuracy", "-inf"))
        if not better and _is_active(client, version.run_id):
            return
    versions = client.search_model_versions(f"run_id = '{run_id}'") or [
        client.create_model_version(
            name, f"models:/{model_id}", run_id, {"test_accuracy": repr(test_accuracy)}, model_id=model_id
        )
    ]
    client.set_registered_model_alias(name, "champion", versions[0].version)


def _is_active(client, run_id):
    """Whether a run is there, and was not deleted in MLflow."""
    with suppress(MlflowException):
        return client.get_run(run_id).info.lifecycle_stage == "active"
    return False
