"""Results that are published in a moment: a few small files of a project, without DVC."""

import dataclasses
import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from PIL import Image

from bridge.dvc_index import CurveTable
from bridge.files import digest, md5
from bridge.lineage import Lineage
from bridge.results import Result
from bridge.settings import ChampionSettings, ModelSettings, Settings, TensorType
from bridge.store import COMPLETE, MODEL as MODEL_TAG, RESULT, Store

FLOATS = TensorType("float64", [-1, 2])
LOADER = """
import json
import numpy

class Model:
    def __init__(self, weight):
        self.weight = weight

    def predict(self, model_input: numpy.ndarray):
        return self.weight * numpy.asarray(model_input)

def _load_pyfunc(path, config=None):
    with open(path) as file:
        return Model(json.load(file)["W"])
"""
CHAMPION = ChampionSettings("accuracy", ["data.csv"])
MODEL = ModelSettings("serving.model", "weights.json", ["serving"], inputs=FLOATS, outputs=FLOATS)
SETTINGS = Settings(images={"frames": "frames"}, model=MODEL, champion=CHAMPION)
NO_DATA = "0" * 32
STEPS = (0, 5, 10)


def small_result(root, accuracy=0.5, *, data=NO_DATA, settings=SETTINGS, **changes):
    """Return a result whose files are written below a folder.

    Args:
        root: the folder of all results of a test.
        accuracy: a metric, by which the champion is chosen; also the weight of the model.
        data: hash of the data that it is compared on.
        settings: those of mlflow.yaml.
        changes: fields of the result.
    """
    folder = root / f"project-{accuracy}-{data[:8]}"
    if not folder.exists():
        _write_files(folder, accuracy)
    paths = ("weights.json", "metrics.json", "curve.csv")
    hashes = {"data.csv": data, **{path: md5(folder / path) for path in paths}}
    pictures = {path: md5(folder / path) for path in ("frames", "plot.png")}
    result = Result(
        run="net",
        root=folder,
        settings=settings,
        stage_names=["fit"],
        params={"rate": 0.1, "accuracy": accuracy},
        hashes=hashes,
        pictures=pictures,
        data={"data.csv": data},
        compared_on=digest([data]),
        metric_files=["metrics.json"],
        curves=[CurveTable("curve.csv", "step", ["loss"])],
        digest=digest([accuracy, data]),
        pictures_digest=digest(pictures),
    )
    return dataclasses.replace(result, **changes)


def _write_files(folder, accuracy):
    """Write what the stages would have written."""
    (folder / "frames").mkdir(parents=True)
    (folder / "serving").mkdir()
    (folder / "serving/model.py").write_text(LOADER)
    (folder / "weights.json").write_text(json.dumps({"W": accuracy}))
    (folder / "metrics.json").write_text(json.dumps({"accuracy": accuracy}))
    (folder / "curve.csv").write_text("step,loss\n0,1.5\n5,1.25\n10,1.0\n")
    (folder / "data.csv").write_text("x\n1\n")
    draw(folder / "plot.png", "white")
    for step in STEPS:
        draw(folder / f"frames/{step:03}.png", "blue")


def draw(path, color):
    """Write a picture of one colour, in place of the one that is there."""
    path.unlink(missing_ok=True)
    Image.new("RGB", (2, 2), color).save(path)


def with_other_pictures(result, folder):
    """Return the same result with other pictures, of which one has another step."""
    shutil.copytree(result.root, folder)
    draw(folder / "plot.png", "red")
    for step in STEPS:
        draw(folder / f"frames/{step:03}.png", "red")
    (folder / "frames/010.png").rename(folder / "frames/007.png")
    pictures = {path: md5(folder / path) for path in result.pictures}
    return dataclasses.replace(
        result, root=folder, pictures=pictures, pictures_digest=digest(pictures)
    )


def lineage_at(root, **changes):
    """Return where the results come from: a commit that says nothing of them."""
    lineage = Lineage(root, "0123456789abcdef", "false", "", None, "spirals", "somebody")
    return dataclasses.replace(lineage, **changes)


def store_in(folder, experiment="spirals"):
    """Return the store of a folder, as `configured_store` would."""
    file = folder / "mlflow.db"
    return Store(f"sqlite:///{file}", experiment, None, file, folder / "mlruns")


def at_server(address, folder, experiment):
    """Return the store of a server, with the locks of a folder."""
    return Store(address, experiment, None, None, folder / "mlruns")


def runs_in(uri, experiment="spirals"):
    """Return all that the runs of an experiment show, by digest of their results.

    Each result has one run, each run one model, which is registered at most once, and nothing of
    the publishers' locks is left.
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
    assert not [model.name for model in client.search_registered_models() if "publishing" in model.name]
    return shown


def shown_by(client, run):
    """Return all that a run shows, without what differs from one publication to the next."""
    tags = dict(run.data.tags)
    assert run.info.status == "FINISHED"
    assert tags.pop(COMPLETE) == "true"
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    assert output.model_id == tags.pop(MODEL_TAG)
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
        "files": _files_at(client, run.info.artifact_uri),
        "model": _files_at(client, model.artifact_location),
        "values of the model": sorted((metric.key, metric.value) for metric in model.metrics),
    }


def _files_at(client, location):
    """Return the hashes of files by path; a run's start is left out of them."""
    hashes = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        uri = client.tracking_uri
        mlflow.artifacts.download_artifacts(location, dst_path=folder, tracking_uri=uri)
        for file in Path(folder).rglob("*"):
            path = re.sub(r"timestamp\+\d+", "timestamp", file.relative_to(folder).as_posix())
            if file.is_file():
                hashes[path] = "" if file.name == "MLmodel" else md5(file)
    return hashes
