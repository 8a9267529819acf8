"""Publishing, function by function, to stores of its own: one complete run for each result."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from importlib.metadata import version
from pathlib import Path

import browser
import pytest
from conftest import ROOT, SMALL, set_params
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.pyfunc import get_model_dependencies
from runs import STEPS, all_complete, assert_complete, md5, mlflow_server, serving
from spirals.results import read_results
from spirals.store import Store, complete_runs, mend_moved
from spirals.tracking import publish
from sqlalchemy import event
from sqlalchemy.engine import Engine
from track import CHARTS

from evaluate import evaluate
from generate import generate
from pipeline.errors import UserError
from pipeline.params import load_params
from plot import plot
from spirals import tracking
from spirals.data import make_spirals
from train import train_model

pytestmark = pytest.mark.slow
SOURCE = {"commit": "0123456789abcdef", "dirty": False, "experiment": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All that the other stages write: the parameters, and the folder."""
    root = tmp_path_factory.mktemp("made")
    shutil.copy(ROOT / "params.yaml", root)
    set_params(root, SMALL)
    params = load_params(root)
    generate(params.generate, root)
    train_model("linear", params.train_linear, root)
    train_model("mlp", params.train_mlp, root)
    evaluate(params, root)
    plot(params.plot, root)
    return params, root


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a tracking server."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


def store_in(folder, experiment="spirals"):
    return Store(f"sqlite:///{folder / 'mlflow.db'}", experiment, folder / "mlflow.db", folder / "mlruns")


def at_server(address, folder, experiment):
    return Store(address, experiment, None, folder / "mlruns")


def start(function):
    """Calls the function in a process of its own, which has all imports already; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def ended(child, seconds=300):
    """Waits for a process of `start`; returns its status."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"it did not end within {seconds} seconds")


def at_moments(folder, act):
    """From now on calls act(number) whenever the store is about to change: at a commit or an open file."""
    number = 0

    def moment():
        nonlocal number
        number += 1
        act(number)

    def audit(name, arguments):
        if name == "open" and str(arguments[0]).startswith(str(folder)) and "w" in str(arguments[1]):
            moment()

    sys.addaudithook(audit)
    event.listen(Engine, "commit", lambda connection: moment())


def count_moments(folder, publish_in):
    file = folder.parent / "moments"  # not below the folder that is watched

    def counted():
        at_moments(folder, lambda number: file.write_text(str(number)))
        publish_in(folder)

    assert ended(start(counted)) == 0
    return int(file.read_text())


def is_killed_at(moment, folder, publish_in):
    def kill(number):
        if number == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def killed():
        at_moments(folder, kill)
        publish_in(folder)

    return ended(start(killed)) == signal.SIGKILL


@pytest.mark.parametrize(("database", "samples"), [("new", 4), ("there", 16)])
def test_killed_at_any_moment_and_published_again_is_one_complete_run(made, tmp_path, database, samples):
    (_, result) = read_results(*made)
    begin = tmp_path / "begin"
    begin.mkdir()
    if database == "there":
        assert ended(start(lambda: publish([], SOURCE, store_in(begin)))) == 0

    def publish_in(folder, results):
        store = store_in(folder)
        mend_moved(store)  # it is a copy of another
        publish(results, SOURCE, store)

    def interrupted(folder):  # in the making of the new database, or of the run in one that is there
        publish_in(folder, [] if database == "new" else [result])

    moments = count_moments(shutil.copytree(begin, tmp_path / "count"), interrupted)
    assert moments > 50
    sampled = [moments * (i + 1) // samples for i in range(samples)]  # the last one among them

    def try_moments(some):
        for moment in some:
            folder = shutil.copytree(begin, tmp_path / f"killed-{moment}")
            assert is_killed_at(moment, folder, interrupted), moment
            assert ended(start(lambda folder=folder: publish_in(folder, [result]))) == 0, moment
            assert len(all_complete(store_in(folder).uri)) == 1, moment
            assert list(folder.glob(".*")) == [], moment

    halves = [start(lambda half=half: try_moments(half)) for half in (sampled[::2], sampled[1::2])]
    assert [ended(child, 1800) for child in halves] == [0, 0]


def with_other_pictures(result, folder):
    """The same result with other pictures, and with a frame of another moment."""
    folder.mkdir()
    others = [folder / picture.name for picture in result.pictures]
    for other in others:
        other.write_bytes(b"another picture")
    frame = shutil.copy(result.frames[0], folder / "033.png")
    return dataclasses.replace(result, pictures=others, frames=[frame, *result.frames[1:9]], pictures_digest="another")


def test_pictures_half_replaced_are_not_taken_for_the_old_ones(made, tmp_path):
    (result, _), store = read_results(*made), store_in(tmp_path / "store")
    other = with_other_pictures(result, tmp_path / "other")
    assert ended(start(lambda: publish([result], SOURCE, store))) == 0
    assert is_killed_at(20, store.folder.parent, lambda _: publish([other], SOURCE, store))
    (files,) = store.folder.rglob("artifacts/boundary_linear.png")
    assert files.read_bytes() == b"another picture"
    assert len(list(files.parent.glob("images/*"))) < 18
    assert ended(start(lambda: publish([result], SOURCE, store))) == 0
    (run,) = all_complete(store.uri)
    for picture in result.pictures:
        assert md5(Path(run.info.artifact_uri, picture.name)) == md5(picture)


def test_four_at_once_make_one_database_and_one_run_for_each_result(made, tmp_path):
    results, store = read_results(*made), store_in(tmp_path)
    children = [start(lambda: publish(results, SOURCE, store)) for _ in range(4)]
    assert [ended(child) for child in children] == [0] * 4
    assert len(all_complete(store.uri)) == 2


def test_three_checkouts_at_one_server_at_once_make_one_run_for_each_result(made, server, tmp_path):
    results = read_results(*made)
    stores = [at_server(server, tmp_path / name, "at-once") for name in ("one", "two", "three")]
    children = [start(lambda store=store: publish(results, SOURCE, store)) for store in stores]
    assert [ended(child) for child in children] == [0] * 3
    assert len(all_complete(server, "at-once")) == 2
    # The pictures are replaced there too, and frames of other moments do not stay.
    publish([with_other_pictures(result, tmp_path / result.model) for result in results], SOURCE, stores[0])
    publish(results, SOURCE, stores[0])
    assert len(all_complete(server, "at-once")) == 2


def test_a_lock_left_at_the_server_by_a_killed_publisher(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "PATIENCE", 4)
    client, own, other = MlflowClient(server, server), tmp_path / "one", tmp_path / "two"

    def killed():
        with tracking._alone_at(client, "left", own):
            os.kill(os.getpid(), signal.SIGKILL)

    took = []
    for folder in (own, other):
        assert ended(start(killed)) == signal.SIGKILL
        begin = time.monotonic()
        with tracking._alone_at(client, "left", folder):
            took.append(time.monotonic() - begin)
    assert took[0] < 4 <= took[1]  # only its own lock is known to be nobody's


@pytest.mark.parametrize("name", ["/tmp/spirals", "..", "a'b\"ç d"])
def test_no_name_of_an_experiment_leads_out_of_the_store(name, made, tmp_path):
    (result, _), store = read_results(*made), store_in(tmp_path / "store" / "below", name)
    publish([result], SOURCE, store)
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(name)
    (run,) = client.search_runs([experiment.experiment_id])
    assert_complete(client, run)
    assert Path(experiment.artifact_location).resolve().parent == store.folder
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert {path.name for path in (tmp_path / "store" / "below").iterdir()} == {"mlflow.db", "mlruns"}


def test_a_damaged_database_is_named_with_what_to_do(made, tmp_path):
    (result, _), store = read_results(*made), store_in(tmp_path)
    publish([result], SOURCE, store)
    content = store.file.read_bytes()
    store.file.unlink()  # MLflow, here, still has the old file open
    for number, damaged in enumerate([b"not a database" * 1000, content[: len(content) // 2]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        other = store_in(folder)
        other.file.write_bytes(damaged)
        with pytest.raises(
            UserError, match=rf"\nNothing that .*; move {other.file} away, and python src/track.py publishes it anew\.$"
        ):
            publish([result], SOURCE, other)


def like(result, accuracy, number):
    """Another result, with this accuracy on fresh points."""
    metrics, digest = {**result.metrics, "test_accuracy": accuracy}, hashlib.sha256(repr((accuracy, number)).encode())
    return dataclasses.replace(result, metrics=metrics, digest=digest.hexdigest())


def test_champion_moves_only_to_a_better_model(made, tmp_path):
    (result, _), store, champions = read_results(*made), store_in(tmp_path), []
    for accuracy, number in [(0.5, 1), (0.75, 1), (0.625, 1), (0.5, 1), (0.75, 1), (0.75, 2), (0.875, 1)]:
        publish([like(result, accuracy, number)], SOURCE, store)
        version = MlflowClient(store.uri).get_model_version_by_alias("spirals", "champion")
        champions.append((int(version.version), float(version.tags["test_accuracy"])))
    assert champions == [(1, 0.5), *[(2, 0.75)] * 5, (3, 0.875)]


def test_a_run_deleted_in_mlflow_is_published_anew_and_a_deleted_experiment_is_named(made, tmp_path):
    (result, _), store = read_results(*made), store_in(tmp_path)
    client, first = MlflowClient(store.uri), publish([result], SOURCE, store)[result.digest]
    assert complete_runs(store, [result.digest])[result.digest]["run_id"] == first["run_id"]
    client.delete_run(first["run_id"])
    assert complete_runs(store, [result.digest]) == {}
    publish([result], SOURCE, store)
    (run,) = client.search_runs([first["experiment_id"]])
    assert run.info.run_id != first["run_id"]
    assert_complete(client, run)
    assert client.get_model_version_by_alias("spirals", "champion").run_id == run.info.run_id
    client.delete_experiment(first["experiment_id"])
    with pytest.raises(UserError, match="the experiment spirals was deleted in MLflow: restore it"):
        publish([result], SOURCE, store)


def test_the_model_predicts_what_evaluate_counted_here_and_served(made, tmp_path, monkeypatch):
    params, root = made
    results, store = read_results(params, root), store_in(tmp_path)
    publish(results, SOURCE, store)
    points, _ = make_spirals(
        params.evaluate.points_per_class, params.generate.classes, params.generate.noise, params.evaluate.seed
    )
    (tmp_path / "points.json").write_text(json.dumps(points.tolist()))
    expected = {}
    for name in ("linear", "mlp"):
        rows = (root / f"reports/{name}_confusion.csv").read_text().split()[1:]
        expected[name] = [int(row.split(",")[1]) for row in rows]

    # No pickle, nor anything else that is not text.
    for file in (store.folder / "spirals/models").rglob("*"):
        assert file.is_dir() or file.suffix in ("", ".json", ".py", ".txt", ".yaml"), file

    runs = all_complete(store.uri)
    models = {run.data.params["model"]: run.outputs.model_outputs[0].model_id for run in runs}

    # Described so that MLflow knows what to give it, and what it needs.
    for name in models.values():
        described = Model.load(f"models:/{name}")
        assert described.signature.inputs.to_dict() == [
            {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": (-1, 2)}}
        ]
        assert described.load_input_example(f"models:/{name}").shape == (2, 2)
        needed = Path(get_model_dependencies(f"models:/{name}")).read_text()
        assert needed.split() == [f"mlflow=={version('mlflow')}", f"numpy=={version('numpy')}"]

    # Loaded where nothing of this project can be imported, and where a word on stderr is an error.
    load = """
import json, sys, mlflow, numpy
points = numpy.array(json.load(open("points.json")))
print(json.dumps([mlflow.pyfunc.load_model("models:/" + name).predict(points).tolist() for name in sys.argv[1:]]))
"""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri}
    done = subprocess.run(
        [sys.executable, "-c", load, *models.values()], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [expected[name] for name in models]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    serve = ("models", "serve", "--model-uri", "models:/spirals@champion", "--env-manager", "local")
    with serving(tmp_path, *serve, path="/ping") as address:
        body = json.dumps({"inputs": points.tolist()}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    client = MlflowClient(store.uri, store.uri)
    champion = client.get_run(client.get_model_version_by_alias("spirals", "champion").run_id)
    assert predictions == expected[champion.data.params["model"]]


@pytest.mark.skipif(browser.MISSING, reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)")
def test_the_charts_tell_the_story_in_a_browser(made, server, tmp_path):
    store = at_server(server, tmp_path, "charts")
    published = publish(read_results(*made), SOURCE, store)
    number = published.popitem()[1]["experiment_id"]
    runs = {run.info.run_name.split()[0]: run for run in all_complete(server, "charts")}
    with browser.Browser(1900, 1300) as page:
        page.open(f"{server}/#/experiments/{number}/{CHARTS}")
        page.wait("document.querySelectorAll('.js-plotly-plot').length == 5 && document.images.length >= 2")

        # Both models in every chart: curves over one another, final values as bars.
        charts = page.script("""
            return [...document.querySelectorAll('.js-plotly-plot')].map(chart => chart.data.map(trace => ({
                type: trace.type, name: trace.name, x: [...trace.x], y: [...trace.y], color: trace.marker?.color})))""")
        curves = [{trace["name"].split()[0]: trace for trace in chart} for chart in charts if chart[0]["type"] != "bar"]
        assert [{*chart} for chart in curves] == [{"linear", "mlp"}] * 2
        for name, run in runs.items():
            steps = [point.step for point in MlflowClient(store.uri).get_metric_history(run.info.run_id, "loss")]
            assert all(chart[name]["x"] == sorted(steps) for chart in curves)
        assert all(chart["linear"]["color"] != chart["mlp"]["color"] for chart in curves)
        bars = [chart for chart in charts if chart[0]["type"] == "bar"]
        shown = sorted(sorted(value for trace in chart for value in trace["x"]) for chart in bars)
        finals = ("train_accuracy", "test_accuracy", "train_loss")
        assert shown == sorted(sorted(run.data.metrics[key] for run in runs.values()) for key in finals)
        for run in runs.values():
            assert run.info.run_name in page.text()

        # The slider shows an image of each model, at its first step, its last and one between.
        for keys, step in [("", 0), (browser.RIGHT * (len(STEPS) - 1), 100), (browser.LEFT, 80)]:
            page.type("[role=slider]", keys)
            images = f"[...document.images].filter(image => image.src.includes('boundary%2Bstep%2B{step}%2B'))"
            page.wait(f"{images}.length == 2 && {images}.every(image => image.naturalWidth > 0)")
            for run in runs.values():
                assert page.script(f"return {images}.some(image => image.src.includes('{run.info.run_id}'))")
            assert "No image" not in page.text()
