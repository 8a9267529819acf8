"""What people do with what was published: load the model, serve it, and look at the charts."""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from importlib.metadata import version
from pathlib import Path

import browser
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.pyfunc import get_model_dependencies
from runs import AFTER, DURING, STEPS, all_complete, serving

from pipeline.files import read_points

pytestmark = pytest.mark.slow

CHARTS = "runs?workflowType=machine_learning&compareRunsMode=CHART"
LOAD = """
import json, sys, mlflow, numpy
points = numpy.array(json.load(open("points.json")))
for name in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(f"models:/{name}")
    print(json.dumps(model.predict(points).tolist()))
"""
READ_CHARTS = """
return [...document.querySelectorAll('.js-plotly-plot')].map(chart => chart.data.map(trace => ({
    type: trace.type, name: trace.name, x: [...trace.x], y: [...trace.y],
    color: trace.marker?.color})))
"""


@pytest.fixture
def uri(ran, monkeypatch):
    """The address of the store of a checkout in which all stages have run."""
    address = f"sqlite:///{ran.root / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    return address


@pytest.fixture
def models(uri):
    """The IDs of the logged models, by name."""
    return {
        run.data.params["model"]: run.outputs.model_outputs[0].model_id for run in all_complete(uri)
    }


def counted(ran, name):
    """What evaluate says that a model predicts for the test set."""
    rows = (ran.root / f"reports/models/{name}/confusion.csv").read_text().split()[1:]
    return [int(row.split(",")[1]) for row in rows]


def points_of_the_test_set(ran):
    points, _ = read_points(ran.root / "data/test.csv")
    return points.tolist()


def test_no_file_of_a_model_is_a_pickle(ran, models):
    files = list((ran.root / "mlflow-bridge/spirals/models").rglob("*"))
    assert files
    for file in files:
        assert file.is_dir() or file.suffix in ("", ".json", ".py", ".txt", ".yaml"), file


def test_a_model_says_what_it_takes_and_what_it_needs(models):
    for model_id in models.values():
        described = Model.load(f"models:/{model_id}")
        tensor = {"dtype": "float64", "shape": (-1, 2)}
        inputs = [{"type": "tensor", "tensor-spec": tensor}]
        assert described.signature.inputs.to_dict() == inputs
        assert described.load_input_example(f"models:/{model_id}").shape == (2, 2)
        needed = Path(get_model_dependencies(f"models:/{model_id}")).read_text()
        assert needed.split() == [f"mlflow=={version('mlflow')}", f"numpy=={version('numpy')}"]


def test_a_model_predicts_elsewhere_what_evaluate_counted(ran, models, tmp_path):
    """Where nothing of this project can be imported, and a word on stderr is an error."""
    (tmp_path / "points.json").write_text(json.dumps(points_of_the_test_set(ran)))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *models.values()],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    predicted = [json.loads(line) for line in done.stdout.splitlines()]
    assert predicted == [counted(ran, name) for name in models]


def test_the_champion_is_served(ran, uri, tmp_path):
    client = MlflowClient(uri, uri)
    champion = client.get_run(client.get_model_version_by_alias("spirals", "champion").run_id)
    serve = ("models", "serve", "--model-uri", "models:/spirals@champion", "--env-manager", "local")
    with serving(tmp_path, *serve, path="/ping") as address:
        body = json.dumps({"inputs": points_of_the_test_set(ran)}).encode()
        header = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/invocations", body, header)
        with urllib.request.urlopen(request, timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    assert predictions == counted(ran, champion.data.params["model"])


def find_images(key, step):
    """JavaScript for the images on the page that show a step."""
    shown = urllib.parse.quote(f"/{key}+step+{step}+", safe="")
    return f"[...document.images].filter(image => image.src.includes('{shown}'))"


def wait_for_images(page, key, step):
    images = find_images(key, step)
    page.wait(f"{images}.length == 2 && {images}.every(image => image.naturalWidth > 0)")


@pytest.mark.skipif(browser.MISSING, reason="needs chromium and chromedriver")
def test_the_charts_tell_the_story_in_a_browser(ran, uri):
    """One start of a server and of a browser: curves, bars, final images, the slider."""
    client = MlflowClient(uri, uri)
    runs = {run.data.params["model"]: run for run in all_complete(uri)}
    experiment_id = runs["mlp"].info.experiment_id
    with serving(ran.root, "ui") as server, browser.Browser(1900, 1300) as page:
        page.open(f"{server}/#/experiments/{experiment_id}/{CHARTS}")
        plots = "document.querySelectorAll('.js-plotly-plot').length == 5"
        page.wait(f"{plots} && document.images.length >= 4")
        charts = page.script(READ_CHARTS)

        curves = []
        bars = []
        for chart in charts:
            (bars if chart[0]["type"] == "bar" else curves).append(chart)
        for chart in curves:
            by_model = {}
            for trace in chart:
                words = trace["name"].split()
                by_model["mlp" if "mlp" in words else "linear"] = trace
            assert {*by_model} == {"linear", "mlp"}
            assert by_model["linear"]["color"] != by_model["mlp"]["color"]
            for name, run in runs.items():
                history = client.get_metric_history(run.info.run_id, "loss")
                assert by_model[name]["x"] == sorted(point.step for point in history)
        assert len(curves) == 2

        shown = []
        for chart in bars:
            values = []
            for trace in chart:
                values += trace["x"]
            shown.append(sorted(values))
        expected = []
        for key in ("train_accuracy", "test_accuracy", "train_loss"):
            expected.append(sorted(run.data.metrics[key] for run in runs.values()))
        assert sorted(shown) == sorted(expected)
        for run in runs.values():
            assert run.info.run_name in page.text()

        wait_for_images(page, AFTER, 0)
        # The slider: its first step, its last one, and the one before.
        for keys, step in [("", 0), (browser.RIGHT * (len(STEPS) - 1), 100), (browser.LEFT, 80)]:
            page.type("[role=slider]:not([data-disabled])", keys)
            wait_for_images(page, DURING, step)
            assert "No image" not in page.text()
