"""Publishing, function by function, to stores of its own: one complete run for each result."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
import urllib.parse
import urllib.request
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import browser
import mlflow
import pytest
from conftest import copied
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.pyfunc import get_model_dependencies
from PIL import Image
from proxy import proxied
from runs import AFTER, DURING, STEPS, all_complete, assert_champions, assert_complete, md5, serving
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bridge import publish as bridge_publish
from bridge.errors import UserError
from bridge.files import digest
from bridge.lineage import Lineage, described
from bridge.publish import publish
from bridge.results import load_results
from bridge.settings import load_settings
from bridge.stages import Pipeline, Stage
from bridge.store import Store, complete_runs, relocate_artifacts
from pipeline.files import read_points

pytestmark = pytest.mark.slow
CALLS = 18  # of a server, for one result that is not the best, beside its files
CHARTS = "runs?workflowType=machine_learning&compareRunsMode=CHART"


@pytest.fixture(scope="module")
def made(ran_template, tmp_path_factory):
    """A checkout in which all stages have run, and its results: linear, mlp."""
    checkout = copied(ran_template, tmp_path_factory.mktemp("made"))
    checkout.run("python", "src/bridge")  # asks DVC what the stages are, and keeps the answer
    root = checkout.root
    return root, load_results(Pipeline(root), load_settings(root), root)


@pytest.fixture
def lineage(made):
    return Lineage(made[0], "0123456789abcdef", "false", "", None, "spirals", "somebody")


@pytest.fixture
def server(server):
    """Address of a tracking server."""
    return server[0]


def store_in(folder, experiment="spirals"):
    return Store(
        f"sqlite:///{folder / 'mlflow.db'}",
        experiment,
        None,
        folder / "mlflow.db",
        folder / "mlruns",
    )


def at_server(address, folder, experiment):
    return Store(address, experiment, None, None, folder / "mlruns")


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
        if (
            name == "open"
            and str(arguments[0]).startswith(str(folder))
            and "w" in str(arguments[1])
        ):
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
def test_killed_at_any_moment_and_published_again_is_one_complete_run(
    made, lineage, tmp_path, database, samples
):
    _, (_, result) = made
    begin = tmp_path / "begin"
    begin.mkdir()
    if database == "there":
        assert ended(start(lambda: publish([], lineage, store_in(begin)))) == 0

    def publish_in(folder, results):
        store = store_in(folder)
        relocate_artifacts(store)  # it is a copy of another
        publish(results, lineage, store)

    def interrupted(
        folder,
    ):  # in the making of the new database, or of the run in one that is there
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
    shutil.copytree(result.root, folder, ignore=lambda *_: [".git", ".dvc", "mlruns"])
    pictures = folder / f"reports/models/{result.run}"
    for name in ("boundary", "loss"):
        (pictures / f"{name}.png").unlink()  # it may be a link into DVC's cache
        Image.new("RGB", (2, 2), "red").save(pictures / f"{name}.png")
    first, *_, last = sorted((pictures / "frames").iterdir())
    first.rename(pictures / "frames/033.png")
    last.unlink()
    return dataclasses.replace(result, root=folder, pictures_digest="another")


def test_pictures_half_replaced_are_not_taken_for_the_old_ones(made, lineage, tmp_path):
    (_, (result, _)), store = made, store_in(tmp_path / "store")
    other = with_other_pictures(result, tmp_path / "other")

    def kept(folder):
        """Bytes of the pictures of the run, by path."""
        (artifacts,) = folder.glob("mlruns/spirals/*/artifacts")
        return {path.relative_to(artifacts): path.read_bytes() for path in artifacts.rglob("*.png")}

    def publish_other(folder):
        relocate_artifacts(store_in(folder))  # it may be a copy
        publish([other], lineage, store_in(folder))

    folder = store.folder.parent
    assert ended(start(lambda: publish([result], lineage, store))) == 0
    before = kept(folder)
    copy = shutil.copytree(folder, tmp_path / "count")
    moments = count_moments(copy, publish_other)
    assert is_killed_at(moments // 2, folder, publish_other)
    assert kept(folder) not in (before, kept(copy))
    assert ended(start(lambda: publish([result], lineage, store))) == 0
    (run,) = all_complete(store.uri)
    assert kept(folder) == before
    for path in ("boundary", "loss"):
        path = f"reports/models/linear/{path}.png"
        assert md5(Path(run.info.artifact_uri, path)) == md5(result.root / path)


def test_pictures_of_a_first_publication_that_was_killed_do_not_stay(made, lineage, tmp_path):
    (_, (result, _)), store = made, store_in(tmp_path / "store")
    other = with_other_pictures(result, tmp_path / "other")
    number = sum(1 for _ in other.images())

    def kill(_):
        if len([*store.folder.rglob("images/*.png")]) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def killed():
        at_moments(store.folder.parent, kill)
        publish([other], lineage, store)

    assert ended(start(killed)) == signal.SIGKILL
    assert ended(start(lambda: publish([result], lineage, store))) == 0
    assert len(all_complete(store.uri)) == 1


def publishers(results, lineage, stores):
    """One process for each store, all of them publish these results at once; how many have made each run."""
    notes = [store.folder.parent / f"{number}.json" for number, store in enumerate(stores)]

    def publish_and_note(store, note):
        published = publish(results, lineage, store)
        note.write_text(json.dumps([published[result.digest]["new"] for result in results]))

    pairs = zip(stores, notes, strict=True)
    children = [
        start(lambda store=store, note=note: publish_and_note(store, note)) for store, note in pairs
    ]
    assert [ended(child) for child in children] == [0] * len(children)
    return [sum(new) for new in zip(*(json.loads(note.read_text()) for note in notes), strict=True)]


def count_files(client, run_id):
    """How many files a run and its model have at the server."""
    run = client.get_run(run_id)
    (output,) = run.outputs.model_outputs
    with tempfile.TemporaryDirectory() as folder:
        for uri in (
            run.info.artifact_uri,
            client.get_logged_model(output.model_id).artifact_location,
        ):
            below = tempfile.mkdtemp(dir=folder)
            mlflow.artifacts.download_artifacts(
                uri, dst_path=below, tracking_uri=client.tracking_uri
            )
        return sum(path.is_file() for path in Path(folder).rglob("*"))


def test_four_at_once_make_one_database_and_one_run_for_each_result(made, lineage, tmp_path):
    (_, results), store = made, store_in(tmp_path)
    assert publishers(results, lineage, [store] * 4) == [1, 1]
    assert len(all_complete(store.uri)) == 2


def test_three_checkouts_at_one_server_at_once_make_one_run_for_each_result(
    made, lineage, server, tmp_path
):
    _, results = made
    stores = [at_server(server, tmp_path / name, "at-once") for name in ("one", "two", "three")]
    for store in stores:
        store.folder.mkdir(parents=True)
    assert publishers(results, lineage, stores) == [1, 1]
    assert len(all_complete(server, "at-once")) == 2
    # The pictures are replaced there too, and frames of other moments do not stay.
    others = [with_other_pictures(result, tmp_path / result.run) for result in results]
    publish(others, lineage, stores[0])
    publish(results, lineage, stores[0])
    assert len(all_complete(server, "at-once")) == 2


@pytest.mark.parametrize("served", [False, True])
def test_different_results_do_not_wait_for_one_another(served, made, lineage, server, tmp_path):
    _, (result, other) = made
    results = [result, other, on_other_data(result, "0" * 32)]
    folders = [tmp_path / str(number) for number in range(3)]
    stores = (
        [at_server(server, folder, "apart") for folder in folders]
        if served
        else [store_in(tmp_path)] * 3
    )
    all_there = multiprocessing.Barrier(
        3, timeout=240
    )  # seconds; it breaks if one waits for another to end

    def publish_together(result, store):
        log_inputs = MlflowClient.log_inputs

        def log_inputs_together(*arguments):
            MlflowClient.log_inputs = log_inputs  # the next time, if it has to be tried again
            all_there.wait()  # each has begun its run, and none has ended it
            log_inputs(*arguments)

        MlflowClient.log_inputs = log_inputs_together
        publish([result], lineage, store)

    pairs = zip(results, stores, strict=True)
    children = [
        start(lambda result=result, store=store: publish_together(result, store))
        for result, store in pairs
    ]
    assert [ended(child) for child in children] == [0] * 3
    assert len(all_complete(stores[0].uri, stores[0].experiment)) == 3


def test_the_requests_that_one_result_takes(made, lineage, server, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
    )  # the bridge's own, which no test gets
    _, (result, other) = made
    with proxied(server, delay=0.1) as proxy:
        store = at_server(proxy.address, tmp_path, "requests")
        publish([result], lineage, store)
        proxy.requests.clear()
        (published,) = publish([other], lineage, store).values()
        uploads = Counter(path for method, path, *_ in proxy.requests if method == "PUT")
        calls = [f"{method} {path}" for method, path, *_ in proxy.requests if method != "PUT"]
        in_turn, at_once = proxy.in_turn(), proxy.at_once()
        proxy.requests.clear()
        publish([other], lineage, store)
        again = len(proxy.requests)
    client = MlflowClient(server, server)
    assert len(uploads) == uploads.total() == count_files(client, published["run_id"])
    assert len(calls) <= CALLS, "\n".join(calls)
    assert at_once > 4
    assert (
        in_turn <= CALLS + uploads.total() // 3
    )  # eight uploads at once; each on its own would be many more
    assert again <= 9
    assert len(all_complete(server, "requests")) == 2


def test_a_lock_left_at_the_server_by_a_killed_publisher(server, tmp_path, monkeypatch):
    client, own, other = MlflowClient(server, server), tmp_path / "one", tmp_path / "two"
    waited = 0

    def sleep(seconds):
        nonlocal waited
        waited += seconds

    clock = types.SimpleNamespace(monotonic=lambda: waited, sleep=sleep)
    monkeypatch.setattr(bridge_publish, "time", clock)
    monkeypatch.setattr(bridge_publish, "PATIENCE", 12)  # with each second ten requests less

    def alone(folder):
        return bridge_publish._alone(client, at_server(server, folder, "left"), "left", "0123")

    def killed():
        with alone(own):
            os.kill(os.getpid(), signal.SIGKILL)

    took = []
    for folder in (own, other):
        assert ended(start(killed)) == signal.SIGKILL
        waited = 0
        with alone(folder):
            took.append(waited)
        assert client.search_registered_models("name LIKE 'left.%'") == []
    assert took[0] == 0  # only its own lock is known to be nobody's
    assert bridge_publish.PATIENCE <= took[1] < bridge_publish.PATIENCE + 1


@pytest.mark.parametrize(
    ("below", "name"), [("one", "/tmp/spirals"), ("two", ".."), ("three", "a'b\"ç d")]
)
def test_no_name_of_an_experiment_leads_out_of_the_store(below, name, made, lineage, tmp_path):
    # Each below another folder: a file of the same path MLflow, here, would still have open.
    (_, (result, _)), store = made, store_in(tmp_path / "store" / below, name)
    publish([result], lineage, store)
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(name)
    (run,) = client.search_runs([experiment.experiment_id])
    assert_complete(client, run)
    assert Path(experiment.artifact_location).resolve().parent == store.folder
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert {path.name for path in (tmp_path / "store" / below).iterdir()} == {"mlflow.db", "mlruns"}


def test_a_damaged_database_is_named_with_what_to_do(made, lineage, tmp_path):
    (_, (result, _)), store = made, store_in(tmp_path)
    publish([result], lineage, store)
    content = store.file.read_bytes()
    store.file.unlink()  # MLflow, here, still has the old file open
    for number, damaged in enumerate([b"not a database" * 1000, content[: len(content) // 2]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        other = store_in(folder)
        other.file.write_bytes(damaged)
        told = rf"\nNothing that .*; move {other.file} away, and python \S*src/bridge publishes it anew\.$"
        with pytest.raises(UserError, match=told):
            publish([result], lineage, other)


def like(result, accuracy, number, folder):
    """Another result, with this accuracy on fresh points."""
    root, (file,) = folder / f"{accuracy} {number}", result.metric_files
    if not root.exists():
        shutil.copytree(result.root, root, ignore=lambda *_: [".git", ".dvc", "mlruns"])
        metrics = json.loads((root / file).read_text())
        metrics[result.run]["test_accuracy"] = accuracy
        (root / file).unlink()  # it may be a link into DVC's cache
        (root / file).write_text(json.dumps(metrics))
    return dataclasses.replace(
        result, root=root, digest=hashlib.sha256(repr((accuracy, number)).encode()).hexdigest()
    )


def test_champion_moves_only_to_a_better_model(made, lineage, tmp_path):
    (_, (result, _)), store, champions = made, store_in(tmp_path), []
    for accuracy, number in [
        (0.5, 1),
        (0.75, 1),
        (0.625, 1),
        (0.5, 1),
        (0.75, 1),
        (0.75, 2),
        (0.875, 1),
    ]:
        publish([like(result, accuracy, number, tmp_path)], lineage, store)
        version = MlflowClient(store.uri).get_model_version_by_alias("spirals", "champion")
        champions.append((int(version.version), float(version.tags["test_accuracy"])))
    assert champions == [(1, 0.5), *[(2, 0.75)] * 5, (3, 0.875)]


def test_a_result_of_the_commit_is_got_back_from_it_whichever_experiment_had_it(made, lineage):
    root, (_, result) = made
    back = "To get it back: `git checkout 0123456`, then"
    experiment = "To get it back: `dvc exp apply one`, then"
    committed = dataclasses.replace(lineage, dirty="true", committed=Pipeline(root).stages)
    assert back in described(result, committed, {}, ["one"])
    others = (
        dataclasses.replace(result, hashes={**result.hashes, "data/mlp/weights.json": "0" * 32}),
        dataclasses.replace(result, data={"raw.csv": "0" * 32}),
        dataclasses.replace(result, params={**result.params, "seed": 1}),
    )
    for other in others:
        assert experiment in described(other, committed, {}, ["one"])
    assert experiment in described(result, lineage, {}, ["one"])  # nothing was committed


def on_other_data(result, fresh):
    """Another result, tested on data with this hash."""
    hashes = {**result.hashes, "data/test.csv": fresh}
    compared_on = digest([hashes["data/spirals.csv"], fresh])
    return dataclasses.replace(
        result, hashes=hashes, compared_on=compared_on, digest=digest([result.digest, fresh])
    )


def test_a_result_on_other_data_is_never_the_champion_of_the_committed(made, lineage, tmp_path):
    root, (result, _) = made
    store, other = store_in(tmp_path), "0" * 32
    stages = Pipeline(root).stages
    committed = dataclasses.replace(lineage, committed=stages)
    changed = {}
    for name, stage in stages.items():
        parts = ({**part, "data/test.csv": other} for part in (stage.deps, stage.outs))
        changed[name] = Stage(stage.params, *parts)
    changed = dataclasses.replace(lineage, committed=changed)

    def champions(accuracy, lineage, change=lambda result: result):
        """Accuracies of the champion, and of the best on the ordinary and on the other data."""
        publish([change(like(result, accuracy, 1, tmp_path))], lineage, store)
        client = MlflowClient(store.uri)
        aliases = client.get_registered_model("spirals").aliases
        names = assert_champions(client, "spirals", client.search_runs(["1"]))
        names = [
            "champion",
            *(names.get((result.hashes["data/spirals.csv"], hash)) for hash in (fresh, other)),
        ]
        found = [
            client.get_model_version("spirals", aliases[name]) if name else None for name in names
        ]
        return [version and float(version.tags["test_accuracy"]) for version in found]

    def elsewhere(result):
        return on_other_data(result, other)

    fresh = result.hashes["data/test.csv"]
    assert champions(0.125, committed, elsewhere) == [0.125, None, 0.125]  # there is no other
    assert champions(0.75, committed, elsewhere) == [0.75, None, 0.75]
    assert champions(0.25, committed) == [0.25, 0.25, 0.75]
    assert champions(0.875, committed, elsewhere) == [0.25, 0.25, 0.875]
    assert champions(0.5, committed) == [0.5, 0.5, 0.875]
    assert champions(0.8125, committed, elsewhere) == [0.5, 0.5, 0.875]
    # The committed pipeline has the other data now.
    assert champions(0.4375, changed) == [0.875, 0.5, 0.875]
    assert champions(0.625, changed) == [0.875, 0.625, 0.875]
    assert champions(0.9375, changed, elsewhere) == [0.9375, 0.625, 0.9375]


def test_a_run_deleted_in_mlflow_is_published_anew_and_a_deleted_experiment_is_named(
    made, lineage, tmp_path
):
    (_, (result, _)), store = made, store_in(tmp_path)
    client, first = MlflowClient(store.uri), publish([result], lineage, store)[result.digest]
    assert complete_runs(store, [result.digest])[result.digest]["run_id"] == first["run_id"]
    client.delete_run(first["run_id"])
    assert complete_runs(store, [result.digest]) == {}
    publish([result], lineage, store)
    (run,) = client.search_runs([first["experiment_id"]])
    assert run.info.run_id != first["run_id"]
    assert_complete(client, run)
    assert client.get_model_version_by_alias("spirals", "champion").run_id == run.info.run_id
    client.delete_experiment(first["experiment_id"])
    with pytest.raises(UserError, match="the experiment spirals was deleted in MLflow: restore it"):
        publish([result], lineage, store)


def test_the_model_predicts_what_evaluate_counted_here_and_served(
    made, lineage, tmp_path, monkeypatch
):
    (root, results), store = made, store_in(tmp_path)
    publish(results, lineage, store)
    points, _ = read_points(root / "data/test.csv")
    (tmp_path / "points.json").write_text(json.dumps(points.tolist()))
    expected = {}
    for name in ("linear", "mlp"):
        rows = (root / f"reports/models/{name}/confusion.csv").read_text().split()[1:]
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
        [sys.executable, "-c", load, *models.values()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [expected[name] for name in models]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    serve = ("models", "serve", "--model-uri", "models:/spirals@champion", "--env-manager", "local")
    with serving(tmp_path, *serve, path="/ping") as address:
        body = json.dumps({"inputs": points.tolist()}).encode()
        request = urllib.request.Request(
            f"{address}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    client = MlflowClient(store.uri, store.uri)
    champion = client.get_run(client.get_model_version_by_alias("spirals", "champion").run_id)
    assert predictions == expected[champion.data.params["model"]]


@pytest.mark.skipif(
    browser.MISSING, reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
)
def test_the_charts_tell_the_story_in_a_browser(made, lineage, server, tmp_path):
    store = at_server(server, tmp_path, "charts")
    published = publish(made[1], lineage, store)
    number = published.popitem()[1]["experiment_id"]
    runs = {run.info.run_name.split()[0]: run for run in all_complete(server, "charts")}
    with browser.Browser(1900, 1300) as page:
        page.open(f"{server}/#/experiments/{number}/{CHARTS}")
        page.wait(
            "document.querySelectorAll('.js-plotly-plot').length == 5 && document.images.length >= 4"
        )

        # Both models in every chart: curves over one another, final values as bars.
        charts = page.script("""
            return [...document.querySelectorAll('.js-plotly-plot')].map(chart => chart.data.map(trace => ({
                type: trace.type, name: trace.name, x: [...trace.x], y: [...trace.y], color: trace.marker?.color})))""")
        curves = [
            {trace["name"].split()[0]: trace for trace in chart}
            for chart in charts
            if chart[0]["type"] != "bar"
        ]
        assert [{*chart} for chart in curves] == [{"linear", "mlp"}] * 2
        for name, run in runs.items():
            steps = [
                point.step
                for point in MlflowClient(store.uri).get_metric_history(run.info.run_id, "loss")
            ]
            assert all(chart[name]["x"] == sorted(steps) for chart in curves)
        assert all(chart["linear"]["color"] != chart["mlp"]["color"] for chart in curves)
        bars = [chart for chart in charts if chart[0]["type"] == "bar"]
        shown = sorted(sorted(value for trace in chart for value in trace["x"]) for chart in bars)
        finals = ("train_accuracy", "test_accuracy", "train_loss")
        assert shown == sorted(
            sorted(run.data.metrics[key] for run in runs.values()) for key in finals
        )
        for run in runs.values():
            assert run.info.run_name in page.text()

        # An image of each model as it is in the end, whose slider has one step only.
        def images(key, step):
            found = urllib.parse.quote(f"/{key}+step+{step}+", safe="")
            return f"[...document.images].filter(image => image.src.includes('{found}'))"

        page.wait(
            f"{images(AFTER, 0)}.length == 2 && {images(AFTER, 0)}.every(image => image.naturalWidth > 0)"
        )
        # The slider shows an image of each model, at its first step, its last and one between.
        for keys, step in [("", 0), (browser.RIGHT * (len(STEPS) - 1), 100), (browser.LEFT, 80)]:
            page.type("[role=slider]:not([data-disabled])", keys)
            found = images(DURING, step)
            page.wait(f"{found}.length == 2 && {found}.every(image => image.naturalWidth > 0)")
            for run in runs.values():
                assert page.script(
                    f"return {found}.some(image => image.src.includes('{run.info.run_id}'))"
                )
            assert "No image" not in page.text()
