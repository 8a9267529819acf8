"""Into MLflow: exactly one complete run for each distinct result.

A run is found by the digest of the result it shows. One that is complete is left alone, one that is not is finished,
and whatever is written twice is written with the same name, step and time, so that it is there once. Whoever publishes
a result holds it alone; other results are published at the same time.
"""

import os

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the defaults wait for minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import colorsys
import itertools
import json
import math
import platform
import re
import shutil
import socket
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, suppress
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient, MlflowException
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import Schema, TensorSpec
from PIL import Image

from bridge.errors import UserError
from bridge.files import atomic_write, digest
from bridge.lineage import described, run_name
from bridge.store import COMPLETE, EXPERIMENTS, FOLDER, PICTURES, RESULT, artifacts_there

PATIENCE = 120  # seconds until another publisher that shows no progress is taken for dead
AT_ONCE = 8  # files on their way to a server
ORDER = "bridge.order"  # tag of a run: how many were published before it


def publish(results, lineage, store):
    """By digest, a dict: run_id, experiment_id, and new if it had to be published; UserError if the store refuses."""
    try:
        if store.file:
            _create_database(store)
        mlflow.set_tracking_uri(store.uri)  # the client is not enough: models:/ is looked up here
        client = MlflowClient(store.uri)
        experiment = _experiment(client, store)
        # How many runs were published, as far as the last one knows: the order of colours, and no more.
        last = client.search_runs(
            [experiment.experiment_id], max_results=1, order_by=["attributes.start_time DESC"]
        )
        order = itertools.count(1 + int(last[0].data.tags.get(ORDER, 0)) if last else 0)
        publish_one = partial(_publish, client, store, experiment, lineage, order)
        with ThreadPoolExecutor(
            AT_ONCE if store.is_remote else 1
        ) as pool:  # a server answers several at once
            return dict(pool.map(publish_one, results))
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ImportError) as error:
        reason = " ".join(store.redact(str(error)).split())[:300]
        advice = f"python {os.path.relpath(Path(__file__).parent, lineage.root)} publishes it"
        if "file is not a database" in reason or "database disk image is malformed" in reason:
            advice = f"move {store.file} away, and {advice} anew"
        reason += f"\nNothing that was computed is lost; {advice}."
        raise UserError(f"cannot publish to {store.redacted_uri}: {reason}") from None


def _create_database(store):
    """Makes the tables of a new database, aside, and puts the whole file in place.

    MLflow makes them in place, where two at once, or a kill half-way, leave a database that never works again. It
    commits 70 times; that none of them waits for the disk saves a second or more.
    """

    def hurry(connection, _):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "PRAGMA journal_mode = MEMORY"
        )  # no file of its own, that a kill would leave behind

    with _locked(store, "database"):
        if store.file.exists():
            return
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hurry)
        with atomic_write(store.file) as temporary, chdir(store.file.parent):
            temporary.touch()  # where no file can be made, MLflow tries for minutes
            MlflowClient(f"sqlite:///{temporary}").search_experiments()
            with open(temporary, "rb+") as made:
                os.fsync(made.fileno())
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hurry)


def _locked(store, what):
    """One process of those that share the store's folder."""
    folder = store.folder / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / what[:16], timeout=5 * PATIENCE)


@contextmanager
def _alone(client, store, registry, what):
    """One publisher of `what` at a time, at a server too.

    The name of a registered model is unique: whoever can create one of this name goes ahead. The description says
    who that is. A publisher that was killed leaves it behind.
    """
    with _locked(store, what):
        if not store.is_remote:
            yield
            return
        name, holder = (
            f"{registry}.publishing.{what[:16]}",
            f"{socket.gethostname()}:{store.folder}",
        )
        seen, since = None, 0
        while not _first(lambda: client.create_registered_model(name, description=holder)):
            for other in client.search_registered_models(f"name = '{name}'"):
                if other.creation_timestamp != seen:
                    seen, since = other.creation_timestamp, time.monotonic()
                if other.description == holder or time.monotonic() - since > PATIENCE:
                    _first(lambda: client.delete_registered_model(name))
                else:
                    time.sleep(0.2)
        try:
            yield
        finally:
            with suppress(MlflowException):
                client.delete_registered_model(name)


def _first(change):
    """Whether we made, or deleted, it; not if another did. (MLflow looks at what is there, when it may be gone.)"""
    try:
        change()
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise
        return False
    return True


def _registry(name):
    """The name of the registered model, and of the folder of artifacts, of an MLflow experiment."""
    return re.sub(r"[^\w.-]", "-", name).lstrip(".") or "-"


def _experiment(client, store):
    """The MLflow experiment, which is made if it is not there."""
    if store.number:
        found = client.get_experiment(store.number)
        if store.experiment not in ("", found.name):
            told = f"MLFLOW_EXPERIMENT_ID {store.number} is the experiment {found.name}, and not {store.experiment}"
            raise UserError(f"{told} as MLFLOW_EXPERIMENT_NAME says: unset one of them")
    elif not (found := client.get_experiment_by_name(store.experiment)):
        folder = str(store.folder)  # said, because MLflow's default is in the working directory
        where = {
            "artifact_location": f"{folder}/{_registry(store.experiment)}",
            "tags": {FOLDER: folder},
        }
        _first(
            lambda: client.create_experiment(store.experiment, **({} if store.is_remote else where))
        )
        found = client.get_experiment_by_name(store.experiment)
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {found.name} was deleted in MLflow: restore it, or set MLFLOW_EXPERIMENT_NAME"
        )
    return found


def _publish(client, store, experiment, lineage, order, result):
    registry, number = _registry(experiment.name), experiment.experiment_id
    with _alone(client, store, registry, result.digest):
        metrics, curves = result.numbers()  # before there is a run: it may refuse them
        if (metric := result.settings["champion"].get("metric")) and metric not in metrics:
            raise UserError(
                f"mlflow.yaml: champion.metric is {metric}, but the metrics are {', '.join(metrics)}"
            )
        run, fresh = _find_or_create(client, number, result, lineage, order)
        run_id, tags = run.info.run_id, run.data.tags
        new, lost = COMPLETE not in tags, not artifacts_there(run.info.artifact_uri)
        model = (
            _log_model(client, store, run, fresh, result)
            if result.settings["model"] and (new or lost)
            else None
        )
        if new:
            _log_values(client, run, result, metrics, curves, model)
        if lost or tags.get(PICTURES) != result.pictures_digest:
            repository = get_artifact_repository(run.info.artifact_uri)
            if not fresh:
                client.set_tag(run_id, PICTURES, "")  # from here to the end they are old and new
            if not fresh and not lost:  # frames of moments that are no longer drawn would stay
                repository.delete_artifacts("images")
            _log_files(store, repository, run.info.start_time, result)
        if new and model and result.settings["champion"]:
            _crown(client, store, registry, run, model, result, metrics, lineage)
        names = [*dict.fromkeys(f"{lineage.experiment or ''} {tags.get(EXPERIMENTS, '')}".split())]
        done = {
            PICTURES: result.pictures_digest,
            "mlflow.note.content": described(result, lineage, metrics, names),
        }
        if names:
            done[EXPERIMENTS] = " ".join(names)[:5000]
        if new:
            client.set_terminated(run_id, "FINISHED")
        client.log_batch(
            run_id, tags=[RunTag(key, value) for key, value in {**done, COMPLETE: "true"}.items()]
        )
    return result.digest, {"run_id": run_id, "experiment_id": number, "new": new}


def _find_or_create(client, number, result, lineage, order):
    """The run of a result, and whether it was made just now."""
    if runs := client.search_runs([number], f"tags.`{RESULT}` = '{result.digest}'"):
        return runs[0], False
    place = next(order)
    tags = {f"dvc.md5.{path}"[:250]: str(hash) for path, hash in result.hashes.items()}
    tags |= {
        RESULT: result.digest,
        ORDER: str(place),
        "mlflow.runColor": _color(place),
        "git.dirty": lineage.dirty,
    }
    tags |= {
        "mlflow.source.name": lineage.source,
        "mlflow.source.type": "PROJECT",
        "mlflow.user": lineage.user,
    }
    if lineage.commit:
        tags["mlflow.source.git.commit"] = lineage.commit
    if result.settings["images"]:
        tags["mlflow.loggedImages"] = "true"
    return client.create_run(number, tags=tags, run_name=run_name(result, lineage)), True


def _color(order):
    """Hues by the order of publishing, a golden section of the circle apart: neighbours are told apart."""
    hue, light = (0.58 + order * 0.381966) % 1, (0.42, 0.55, 0.3)[order // 5 % 3]
    return (
        "#" + bytes(int(255 * channel) for channel in colorsys.hls_to_rgb(hue, light, 0.75)).hex()
    )


def _upload(store, repository, folder):
    """Every file of the folder: one after another, or several on their way to a server."""
    if not store.is_remote:
        repository.log_artifacts(str(folder))
        return
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    parents = [os.path.dirname(path.relative_to(folder)) for path in files]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(repository.log_artifact, map(str, files), parents))


def _log_model(client, store, run, fresh, result):
    """The trained model as MLflow loads it, once: one that is there was left by a publisher that died."""
    number, run_id = run.info.experiment_id, run.info.run_id
    models = [] if fresh else client.search_logged_models([number], f"source_run_id = '{run_id}'")
    if not models:
        params = {key: str(value) for key, value in result.params.items()}
        tags = {"mlflow.note.content": f"Of the run {run.info.run_name}"}
        models = [client.create_logged_model(number, result.run or "model", run_id, tags, params)]
    place, name = models[0].artifact_location, models[0].model_id
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder), Model(place, run_id, model_uuid=name, model_id=name), result)
        _upload(store, get_artifact_repository(place), Path(folder))
    client.finalize_logged_model(name, "READY")
    if fresh or not (run.outputs and run.outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(name, step=0)])
    return name


def _write_model(folder, model, result):
    """In MLflow's format; its own `save_model` looks through all installed packages first, for half a second."""
    settings, python = result.settings["model"], platform.python_version()
    if settings.keys() >= {"inputs", "outputs"}:
        try:
            pairs = [
                (np.dtype(kind), tuple(shape))
                for kind, shape in (settings["inputs"], settings["outputs"])
            ]
        except (TypeError, ValueError) as error:
            raise UserError(
                f"mlflow.yaml: model.inputs and model.outputs must be [type, shape]: {error}"
            ) from None
        model.signature = ModelSignature(*(Schema([TensorSpec(*pair)]) for pair in pairs))
    if example := settings.get("example"):
        names = {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
        }
        model.saved_input_example_info = {**names, "type": "ndarray"}
        (folder / names["artifact_path"]).write_text(json.dumps(example))
        (folder / names["serving_input_path"]).write_text(json.dumps({"inputs": example}))
    data = f"data/{Path(settings['file']).name}"
    _copy(result.root / settings["file"], folder / data)
    for path in settings.get("code", ()):
        target = folder / "code" / Path(path).name
        shutil.copytree(result.root / path, target, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "requirements.txt").write_text(
        f"mlflow=={mlflow.__version__}\nnumpy=={np.__version__}\n"
    )
    (folder / "python_env.yaml").write_text(
        f"python: {python}\ndependencies:\n- -r requirements.txt\n"
    )
    flavor = {"loader_module": settings["loader"], "python_version": python, "data": data}
    flavor |= {"code": "code" if settings.get("code") else None, "config": settings.get("config")}
    model.add_flavor("python_function", **flavor, env={"virtualenv": "python_env.yaml"})
    model.save(str(folder / "MLmodel"))


def _copy(source, target):
    """A file or a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def _log_values(client, run, result, metrics, curves, model):
    """Parameters, the data set, the curves by step, and the final values at step 0, where they become bars."""
    run_id, start = run.info.run_id, run.info.start_time
    params = [Param(key[:250], str(value)[:6000]) for key, value in result.params.items()]
    named = [(Path(path).stem, (hash or "")[:36], path) for path, hash in result.data.items()]
    data = [Dataset(name, hash, "local", json.dumps({"uri": path})) for name, hash, path in named]
    on = {"dataset_name": data[0].name, "dataset_digest": data[0].digest} if data else {}
    points = [Metric(key, value, start, 0, model_id=model, **on) for key, value in metrics.items()]
    for key, values in curves.items():
        points += [Metric(key, value, start + step, step) for step, value in values.items()]
    # A batch has room for 1000 values, these and the parameters.
    for batch in range(max(-(-len(points) // 900), -(-len(params) // 100))):
        client.log_batch(run_id, points[900 * batch :][:900], params[100 * batch :][:100])
    inputs = [
        DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]) for dataset in data
    ]
    try:
        client.log_inputs(run_id, inputs)
    except (
        MlflowException
    ):  # another result made the same data set at the same moment: now it is there
        client.log_inputs(run_id, inputs)


def _log_files(store, repository, start, result):
    """The files, and the images under the names that `MlflowClient.log_image` gives to those with steps.

    `log_image` itself adds a random part to the name, and would double them.
    """
    unique = uuid.UUID(result.digest[:32])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in result.files():
            _copy(result.root / path, folder / path)
        for key, step, file in result.images():
            (folder / "images").mkdir(exist_ok=True)
            name = f"{folder}/images/{key}+step+{step}+timestamp+{start + step}+{unique}"
            with Image.open(file) as image:
                image.save(f"{name}+compressed.webp", method=0)
                shutil.copy(file, f"{name}.png") if file.suffix == ".png" else image.save(
                    f"{name}.png"
                )
        _upload(store, repository, folder)


def _crown(client, store, registry, run, model, result, metrics, lineage):
    """Registers the model if it is the best on its data: results on other data never meet.

    The best on some data has the alias champion-DATA; champion is that of the data of the committed pipeline.
    """
    metric, data, run_id = (
        result.settings["champion"]["metric"],
        result.compared_on,
        run.info.run_id,
    )
    if math.isnan(value := metrics[metric]):  # no number is above it
        return
    own, committed = (f"champion-{of[:8]}" for of in (data, lineage.committed_data(result) or data))

    def aliases():
        """Those that are there, and whether this model is the best on its data."""
        _first(lambda: client.create_registered_model(registry))
        there = client.get_registered_model(registry).aliases
        if own in there:
            best = client.get_model_version(registry, there[own])
            if value <= float(best.tags.get(metric, "-inf")):
                with suppress(MlflowException):  # its run is gone
                    if client.get_run(best.run_id).info.lifecycle_stage == "active":
                        return there, False
        return there, True

    there, best = aliases()
    if not best and there.get("champion") == there.get(committed, there.get("champion")):
        return
    with _alone(client, store, registry, digest("champion")):
        there, best = aliases()
        held = there.get("champion") in (None, there.get(own))
        if best:
            versions = client.search_model_versions(f"run_id = '{run_id}'")
            if not versions:
                said = {
                    "tags": {metric: repr(value), "data": data},
                    "await_creation_for": 0,
                    "model_id": model,
                }
                said["description"] = f"{metric} {value:.4g}: {run.info.run_name}"
                versions = [
                    client.create_model_version(registry, f"models:/{model}", run_id, **said)
                ]
            there[own] = versions[0].version
            linked = {
                "mlflow.modelVersions": json.dumps([{"name": registry, "version": there[own]}])
            }
            client.set_logged_model_tags(
                model, linked
            )  # or the model's page says that it is not registered
            client.set_registered_model_alias(registry, own, there[own])
        target = there.get(committed) or there[own if held else "champion"]
        if there.get("champion") != target:
            client.set_registered_model_alias(registry, "champion", target)
