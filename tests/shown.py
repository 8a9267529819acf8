"""What the runs of a store show, to be compared with what those of another show."""

import hashlib
import re
import tempfile
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from bridge.store import COMPLETE, MODEL, RESULT


def runs_in(uri, experiment="weather"):
    """Return all that the runs of an experiment show, by digest of their results.

    Each result has one run, each run one model, which is registered once at most, and nothing of
    the publishers' claims is left.
    """
    client = MlflowClient(uri, uri)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([experiment_id])
    shown = {run.data.tags[RESULT]: shown_by(client, run) for run in runs}
    assert len(shown) == len(runs), "one result twice"
    models = client.search_logged_models([experiment_id])
    assert {model.source_run_id for model in models} == {run.info.run_id for run in runs}
    assert len(models) == len(runs), "one model twice"
    versions = Counter(version.run_id for version in client.search_model_versions())
    assert set(versions.values()) <= {1}, "one model registered twice"
    names = [model.name for model in client.search_registered_models()]
    assert [name for name in names if f"{experiment}~publishing" in name] == []
    return shown


def shown_by(client, run):
    """Return all that a run shows, without what differs from one publication to the next."""
    tags = dict(run.data.tags)
    assert run.info.status == "FINISHED"
    assert tags.pop(COMPLETE) == "true"
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    assert output.model_id == tags.pop(MODEL)
    model = client.get_logged_model(output.model_id)
    assert str(model.status) == "READY"
    history = {}
    for key in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, key)
        history[key] = sorted((point.step, point.value) for point in points)
    return {
        "tags": tags,
        "params": run.data.params,
        "metrics": history,
        "data": [used.dataset.name for used in run.inputs.dataset_inputs],
        "files": hashes_at(client, run.info.artifact_uri),
        "model": hashes_at(client, model.artifact_location),
        "values of the model": sorted((metric.key, metric.value) for metric in model.metrics),
    }


def hashes_at(client, location):
    """Return the hashes of files by path; the time of a run, and IDs in MLmodel, are left out."""
    hashes = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        uri = client.tracking_uri
        mlflow.artifacts.download_artifacts(location, dst_path=folder, tracking_uri=uri)
        for file in Path(folder).rglob("*"):
            path = re.sub(r"timestamp\+\d+", "timestamp", file.relative_to(folder).as_posix())
            if file.name == "MLmodel":
                hashes[path] = ""
            elif file.is_file():
                hashes[path] = hashlib.sha256(file.read_bytes()).hexdigest()
    return hashes
