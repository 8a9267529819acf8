"""What a complete MLflow run is; every test of publishing checks all the runs of its store with this."""

import contextlib
import csv
import hashlib
import os
import signal
import socket
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

from spirals.training import SNAPSHOTS

TRAIN = {"seed", "skip_draws", "weight_scale", "learning_rate", "l2", "iterations", "record_every"}
DATA = {f"data.{key}" for key in ("seed", "skip_draws", "points_per_class", "classes", "noise")}
TEST = {"test.seed", "test.points_per_class"}
FINAL = {"train_accuracy", "train_loss", "test_accuracy"}
STEPS = [permille // 10 for permille in SNAPSHOTS if permille % 10 == 0]


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def all_complete(uri, experiment="spirals"):
    """Every run of the experiment, each found complete, none there twice; an empty list without a store."""
    client = MlflowClient(uri, uri)
    number = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([number], max_results=2000)
    for run in runs:
        assert_complete(client, run)
    results = [tuple(value for key, value in sorted(run.data.tags.items()) if "md5" in key) for run in runs]
    assert len(set(results)) == len(runs), "one result twice"
    models = client.search_logged_models([number], max_results=2000)
    assert Counter(model.source_run_id for model in models) == Counter(run.info.run_id for run in runs)
    versions = Counter(version.run_id for version in client.search_model_versions())
    assert all(count == 1 for count in versions.values()), "one model registered twice"
    registered = experiment.replace("/", "-")
    names = {model.name for model in client.search_registered_models()}
    assert registered in names and f"{registered}.publishing" not in names
    champion = client.get_model_version_by_alias(registered, "champion")
    best = max(run.data.metrics["test_accuracy"] for run in runs)
    assert client.get_run(champion.run_id).data.metrics["test_accuracy"] == best
    return runs


def assert_complete(client, run):
    """A finished run with all of params, metrics, curve, images, files, dataset and model, each once."""
    run_id, tags, model = run.info.run_id, run.data.tags, run.data.params["model"]
    assert run.info.status == "FINISHED"
    assert set(run.data.params) == {"model"} | TRAIN | DATA | TEST | ({"hidden_units"} if model == "mlp" else set())
    assert set(run.data.metrics) == FINAL | {"loss", "accuracy"}
    for key in FINAL:
        assert [point.step for point in client.get_metric_history(run_id, key)] == [0]

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        files = Path(client.download_artifacts(run_id, "", folder))
        names = {file.name for file in files.iterdir()}
        assert names == {
            f"{model}.json",
            f"{model}_curve.csv",
            f"boundary_{model}.png",
            f"loss_{model}.png",
            "images",
        }
        assert md5(files / f"{model}.json") == tags[f"dvc.md5.data/{model}.json"]
        assert md5(files / f"{model}_curve.csv") == tags[f"dvc.md5.data/{model}_curve.csv"]
        with (files / f"{model}_curve.csv").open() as file:
            curve = list(csv.DictReader(file))
        for kind in ("+compressed.webp", ".png"):
            images = [file.name for file in (files / "images").iterdir() if file.name.endswith(kind)]
            assert sorted(int(name.split("+")[2]) for name in images) == STEPS
        assert len(list((files / "images").iterdir())) == 2 * len(STEPS)
        assert all(name.startswith("boundary+step+") for name in images)

    for key in ("loss", "accuracy"):
        points = [(point.step, point.value) for point in client.get_metric_history(run_id, key)]
        assert sorted(points) == [(int(row["iteration"]), float(row[key])) for row in curve]

    run = client.get_run(run_id)
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == tags["dvc.md5.data/spirals.csv"]
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.status, logged.source_run_id) == ("READY", run_id)
    assert {metric.key: metric.value for metric in logged.metrics} == {key: run.data.metrics[key] for key in FINAL}
    mlflow.set_tracking_uri(client.tracking_uri)
    classes = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(np.zeros((4, 2)))
    assert classes.shape == (4,)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def serving(folder, *command, path="/health", seconds=120):
    """Runs `mlflow COMMAND` on a free port, and gives its address when that path answers."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
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
                raise AssertionError(f"mlflow {command[0]} does not answer:\n{(folder / 'server.log').read_text()}")
            time.sleep(0.2)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


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
