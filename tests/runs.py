"""What a complete MLflow run is: the tests of publishing check all the runs of a store by it."""

import contextlib
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from ports import free_port

from bridge.store import safe_name
from spirals.training import SNAPSHOT_PERMILLES

TRAIN = {"seed", "skip_draws", "weight_scale", "learning_rate", "l2", "iterations", "record_every"}
DATA = {f"data.{key}" for key in ("seed", "skip_draws", "points_per_class", "classes", "noise")}
TEST = {"test.seed", "test.points_per_class"}
FINAL = {"train_accuracy", "train_loss", "test_accuracy"}
STEPS = [permille // 10 for permille in SNAPSHOT_PERMILLES if permille % 10 == 0]
AFTER, DURING = (
    "boundary after the training",
    "boundary by per cent of the training",
)  # names of the images


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def all_complete(uri, experiment="spirals"):
    """Return the runs of an experiment, each found complete, none there twice."""
    client = MlflowClient(uri, uri)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([experiment_id], max_results=2000)
    for run in runs:
        assert_complete(client, run)
    results = [(run.data.params["model"], *hashes(run).values()) for run in runs]
    assert len(set(results)) == len(runs), "one result twice"
    models = client.search_logged_models([experiment_id], max_results=2000)
    assert Counter(model.source_run_id for model in models) == Counter(
        run.info.run_id for run in runs
    )
    versions = Counter(version.run_id for version in client.search_model_versions())
    assert all(count == 1 for count in versions.values()), "one model registered twice"
    registered = safe_name(experiment)
    names = {model.name for model in client.search_registered_models()}
    assert registered in names and not any(
        name.startswith(f"{registered}~publishing") for name in names
    )
    assert_champions(client, registered, runs)
    return runs


def assert_champions(client, registered, runs):
    """The best run on each data set has the alias of these data, one of them `champion`.

    Returns:
        Names of the aliases by the pair of hashes: of the data trained on, and of those tested on.
    """
    groups = {}
    for run in runs:
        groups.setdefault(
            tuple(hashes(run)[f"data/{name}.csv"] for name in ("spirals", "test")), []
        ).append(run)
    aliases = client.get_registered_model(registered).aliases
    expected = {
        data: f"champion-{hashlib.sha256(json.dumps(data).encode()).hexdigest()[:8]}"
        for data in groups
    }
    assert {*aliases} == {"champion", *expected.values()}
    for data, alias in expected.items():
        best = max(run.data.metrics["test_accuracy"] for run in groups[data])
        version = client.get_model_version(registered, aliases[alias])
        (run,) = (run for run in groups[data] if run.info.run_id == version.run_id)
        assert run.data.metrics["test_accuracy"] == best == float(version.tags["test_accuracy"])
    assert aliases["champion"] in [aliases[alias] for alias in expected.values()]
    return expected


def hashes(run):
    """What DVC says of the files of a run, by path."""
    tags = sorted(run.data.tags.items())
    return {
        key.removeprefix("dvc.md5."): value for key, value in tags if key.startswith("dvc.md5.")
    }


def outputs(model):
    """Paths of the outputs that a result consists of, and of the files that its run keeps."""
    data, reports = f"data/{model}", f"reports/models/{model}"
    result = {"data/spirals.csv", "data/test.csv", f"{data}/weights.json", f"{data}/snapshots.json"}
    result |= {f"{data}/curve.csv", f"{reports}/metrics.json", f"{reports}/confusion.csv"}
    kept = {
        f"{data}/weights.json",
        f"{data}/curve.csv",
        f"{reports}/boundary.png",
        f"{reports}/loss.png",
    }
    return result, kept


def assert_complete(client, run):
    """A finished run has params, metrics, curve, images, files, data set and model, each once."""
    run_id, tags, model = run.info.run_id, run.data.tags, run.data.params["model"]
    result, kept = outputs(model)
    assert run.info.status == "FINISHED"
    assert set(run.data.params) == {"model"} | TRAIN | DATA | TEST | (
        {"hidden_units"} if model == "mlp" else set()
    )
    assert set(run.data.metrics) == FINAL | {"loss", "accuracy"}
    assert hashes(run).keys() == result
    for key in FINAL:
        assert [point.step for point in client.get_metric_history(run_id, key)] == [0]

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        files = Path(client.download_artifacts(run_id, "", folder))
        images = files / "images"
        names = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
        assert {name for name in names if not name.startswith("images/")} == kept
        for path in result & kept:
            assert md5(files / path) == hashes(run)[path]
        with (files / f"data/{model}/curve.csv").open() as file:
            curve = list(csv.DictReader(file))
        for kind in ("+compressed.webp", ".png"):
            shown = [file.name.split("+") for file in images.iterdir() if file.name.endswith(kind)]
            steps = {
                key: sorted(int(name[2]) for name in shown if name[0] == key)
                for key in (AFTER, DURING)
            }
            assert steps == {AFTER: [0], DURING: STEPS}
        assert len(list(images.iterdir())) == 2 * (len(STEPS) + 1)
        (after,) = (
            file
            for file in images.iterdir()
            if file.name.startswith(AFTER) and file.suffix == ".png"
        )
        assert md5(after) == md5(files / f"reports/models/{model}/boundary.png")

    for key in ("loss", "accuracy"):
        points = [(point.step, point.value) for point in client.get_metric_history(run_id, key)]
        assert sorted(points) == [(int(row["iteration"]), float(row[key])) for row in curve]

    run = client.get_run(run_id)
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == tags["dvc.md5.data/spirals.csv"]
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.status, logged.source_run_id) == ("READY", run_id)
    assert {metric.key: metric.value for metric in logged.metrics} == {
        key: run.data.metrics[key] for key in FINAL
    }
    mlflow.set_tracking_uri(client.tracking_uri)
    classes = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(np.zeros((4, 2)))
    assert classes.shape == (4,)


@contextlib.contextmanager
def serving(folder, *command, path="/health", seconds=120):
    """Runs `mlflow COMMAND` on a free port, and gives its address when that path answers."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            ["mlflow", *command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(address + path, timeout=5).close()
                break
            if server.poll() is not None or time.monotonic() > end:
                raise AssertionError(
                    f"mlflow {command[0]} does not answer:\n{(folder / 'server.log').read_text()}"
                )
            time.sleep(0.2)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(300)


def mlflow_server(folder):
    """A tracking server with proxied artifacts; all that it keeps lies in the folder."""
    return serving(
        folder,
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "kept"),
    )
