"""What a user does, and the runs that are there afterwards, with real DVC and real MLflow."""

import contextlib
import http.server
import json
import re
import shutil
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import Checkout
from mlflow import MlflowClient
from ports import free_port
from ruamel.yaml import YAML
from runs import AFTER, DURING, TRAIN, all_complete, hashes, md5, mlflow_server, outputs

pytestmark = pytest.mark.slow
# Never restored from DVC's run cache: they have an output outside of the cache.
REBUILT = ["report", "track"]
SECRET = "user:s3cret-w0rd@"


def store(checkout):
    return f"sqlite:///{checkout.root / 'mlflow.db'}"


def ids(checkout):
    """Run ids by model, of a store whose runs are all complete."""
    found = {}
    for run in all_complete(store(checkout)):
        found.setdefault(run.data.params["model"], set()).add(run.info.run_id)
    return found


def run_stages(done):
    """The stages that a `dvc repro` or `dvc exp run` has run."""
    return re.findall(r"Running stage '([\w@]+)'", done.stdout)


def experiments(checkout):
    """What `dvc exp show` says of the experiments by name; None of one that failed."""
    shown = json.loads(checkout.run("dvc", "exp", "show", "--json").stdout)
    return {
        experiment["name"]: experiment["revs"][0]["data"]
        for baseline in shown
        if baseline["rev"] != "workspace"
        for experiment in baseline["experiments"] or []
    }


def assert_lineage(checkout):
    """The first two runs lead back to their commit, and to what dvc.lock says."""
    stages = YAML(typ="safe").load(checkout.root / "dvc.lock")["stages"]
    written = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    commit = checkout.run("git", "rev-parse", "HEAD~1").stdout.strip()
    for run in all_complete(store(checkout)):
        model = run.data.params["model"]
        assert hashes(run) == {path: written[path] for path in outputs(model)[0]}
        sections = {
            **stages["generate"]["params"]["params.yaml"],
            **stages[f"train@{model}"]["params"]["params.yaml"],
        }
        params = {f"data.{key}": value for key, value in sections["generate"].items()}
        params |= {f"test.{key}": value for key, value in sections["evaluate"].items()} | sections[
            f"train_{model}"
        ]
        assert {
            key: float(value) for key, value in run.data.params.items() if key != "model"
        } == params
        assert run.data.tags["mlflow.source.git.commit"] == commit
        assert run.data.tags["git.dirty"] == "false"


def found_by_name(uri, name):
    """Models of the runs that the filter of the README finds for an experiment's name."""
    client = MlflowClient(uri, uri)
    experiment_id = client.get_experiment_by_name("spirals").experiment_id
    return {
        run.data.params["model"]
        for run in client.search_runs([experiment_id], f"tags.`dvc.experiments` LIKE '%{name}%'")
    }


def test_a_run_leads_back_to_the_commit_and_to_what_dvc_lock_says(ran):
    assert_lineage(ran)


def test_the_pipeline_run_again_and_forced_makes_no_run_more(ran):
    first = ids(ran)
    assert {model: len(runs) for model, runs in first.items()} == {"linear": 1, "mlp": 1}
    assert run_stages(ran.run("dvc", "repro")) == []
    forced = ran.run("dvc", "repro", "--force")
    assert "track" in run_stages(forced)
    assert "iteration 0: loss" in forced.stdout
    assert ids(ran) == first
    assert "up to date" in ran.run("dvc", "status").stdout
    assert ran.run("git", "status", "--porcelain").stdout == ""


def test_a_changed_parameter_makes_one_run_and_changed_back_none(ran):
    first = ids(ran)
    ran.set_params({"train_mlp.hidden_units": 9})  # the linear result is an old one
    stages = run_stages(ran.run("dvc", "repro"))
    assert stages == ["train@mlp", "evaluate@mlp", "plot@mlp", *REBUILT]
    second = ids(ran)
    assert second["linear"] == first["linear"]
    (changed,) = second["mlp"] - first["mlp"]
    assert MlflowClient(store(ran)).get_run(changed).data.tags["git.dirty"] == "true"

    ran.set_params({"train_mlp.hidden_units": 8})
    assert run_stages(ran.run("dvc", "repro")) == REBUILT
    assert ids(ran) == second
    assert "up to date" in ran.run("dvc", "status").stdout
    ran.run("git", "checkout", "--quiet", "params.yaml")
    assert ran.run("git", "status", "--porcelain").stdout == ""


def test_an_experiment_makes_one_run_which_is_found_by_its_name(ran):
    first = ids(ran)
    ran.run("dvc", "exp", "run", "--name", "a-try", "--set-param", "train_mlp.hidden_units=7")
    second = ids(ran)
    assert second["linear"] == first["linear"]
    assert len(second["mlp"]) == 2
    assert found_by_name(store(ran), "a-try") == {"linear", "mlp"}


def test_pictures_drawn_again_belong_to_the_runs_that_are_there(ran):
    before = ids(ran)
    script = ran.root / "src/plot.py"
    changed = re.sub("FRAME_CELLS = [0-9]+", "FRAME_CELLS = 50", script.read_text())
    script.write_text(changed)
    ran.set_params({"plot.dpi": 70})
    assert run_stages(ran.run("dvc", "repro")) == ["plot@linear", "plot@mlp", *REBUILT]
    assert ids(ran) == before

    (run_id,) = before["linear"]
    files = Path(MlflowClient(store(ran)).download_artifacts(run_id, ""))
    pictures = ran.root / "reports/models/linear"
    kept = files / "reports/models/linear/boundary.png"
    frames = {md5(frame) for frame in (pictures / "frames").iterdir()}
    assert md5(kept) == md5(pictures / "boundary.png")
    assert {md5(image) for image in (files / "images").glob(f"{DURING}*.png")} == frames
    after = {md5(image) for image in (files / "images").glob(f"{AFTER}*.png")}
    assert after == {md5(pictures / "boundary.png")}


def test_a_deleted_database_is_noticed_by_make_and_built_again(ran):
    (ran.root / "mlflow.db").unlink()
    assert run_stages(ran.run("dvc", "repro")) == []
    ran.run("python", "tools/verify.py")
    assert run_stages(ran.run("dvc", "repro")) == ["track"]
    assert models_of(ran) == ["linear", "mlp"]


def test_a_deleted_store_is_built_again(ran):
    (ran.root / "mlflow.db").unlink()
    shutil.rmtree(ran.root / "mlflow-bridge")
    assert run_stages(ran.run("dvc", "repro")) == ["track"]
    assert models_of(ran) == ["linear", "mlp"]


def models_of(checkout):
    """Return the models of the complete runs, sorted."""
    return sorted(run.data.params["model"] for run in all_complete(store(checkout)))


def test_queued_and_temporary_experiments_publish_to_the_store_of_the_main_checkout(checkout):
    widths = [3, 4, 5]
    # DVC fails now and then if workers put one stage into its cache at once.
    checkout.run("dvc", "repro", "evaluate@linear", "plot@linear")
    checkout.run(
        "dvc",
        "exp",
        "run",
        "--queue",
        "--set-param",
        f"train_mlp.hidden_units={','.join(map(str, widths))}",
    )
    checkout.run("dvc", "exp", "run", "--run-all", "--jobs", "3")
    checkout.run(
        "dvc", "exp", "run", "--temp", "--name", "apart", "--set-param", "train_mlp.hidden_units=12"
    )
    names = experiments(checkout)
    assert len(names) == 4 and all(names.values())
    used = [
        data["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"]
        for data in names.values()
    ]
    assert sorted(used) == [*widths, 12]
    metrics = [
        data["metrics"]["reports/models/mlp/metrics.json"]["data"]["mlp"] for data in names.values()
    ]
    losses = {measured["train_loss"] for measured in metrics}
    assert len(losses) == 4
    assert {model: len(runs) for model, runs in ids(checkout).items()} == {"linear": 1, "mlp": 4}
    for name in names:
        assert found_by_name(store(checkout), name) == {"linear", "mlp"}
    assert not any(".dvc/tmp" in line for line in dump(checkout.root / "mlflow.db"))


def dump(file):
    """The whole of an SQLite database, as SQL."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def test_a_fresh_clone_with_a_remote_trains_nothing(ran, tmp_path):
    ran.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    ran.commit("remote")
    ran.run("dvc", "push")
    clone = Checkout(tmp_path / "clone", tmp_path / "clone-site")
    ran.run("git", "clone", "--quiet", ".", str(clone.root))
    clone.run("dvc", "pull")
    assert set(run_stages(clone.run("dvc", "repro"))) <= {*REBUILT}
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in clone.run("dvc", "status").stdout
    assert models_of(clone) == ["linear", "mlp"]


def test_a_moved_checkout_keeps_its_runs(ran, tmp_path):
    before = ids(ran)
    moved = Checkout(tmp_path / "moved, with spaces" / "Spirálen #1 100%", tmp_path / "site")
    moved.root.parent.mkdir()
    ran.root.rename(moved.root)
    assert moved.run("python", "src/bridge").stdout.count("was there") == 2
    assert ids(moved) == before
    left = [line for line in dump(moved.root / "mlflow.db") if f"{ran.root}/" in line]
    assert left == []


def test_deleted_artifacts_are_written_again_into_the_same_runs(ran):
    before = ids(ran)
    shutil.rmtree(ran.root / "mlflow-bridge")
    assert run_stages(ran.run("dvc", "repro")) == ["track"]
    assert ids(ran) == before


def test_what_the_bridge_prints_and_how_little_it_imports(checkout):
    checkout.warm = False
    checkout.run("dvc", "repro", "evaluate", "plot")
    done = checkout.run("python", "src/bridge")
    assert done.stderr == ""
    server = "http://127.0.0.1:5000/#/experiments/1/runs"
    linear, mlp, charts, command = done.stdout.splitlines()
    page = r"\?workflowType=machine_learning"
    assert re.fullmatch(rf"linear +published +{server}/[0-9a-f]{{32}}{page}", linear)
    assert re.fullmatch(rf"mlp +published +{server}/[0-9a-f]{{32}}{page}", mlp)
    assert charts.endswith(f" {server}?workflowType=machine_learning&compareRunsMode=CHART")
    assert command.endswith(" mlflow ui --backend-store-uri sqlite:///mlflow.db")
    look = "import runpy, sys; runpy.run_path('src/bridge', run_name='__main__')"
    again = checkout.run(
        "python", "-c", look + "; sys.exit({'mlflow', 'numpy', 'dvc'} & {*sys.modules} or None)"
    )
    assert (again.stdout, again.stderr) == (done.stdout.replace("published", "was there"), "")


def test_another_experiment_of_mlflow_has_its_own_runs(ran):
    other = ran.run("python", "src/bridge", MLFLOW_EXPERIMENT_NAME="other")
    assert other.stdout.count("published") == len(all_complete(store(ran), "other")) == 2


def refusal(checkout, **environment):
    """Return what the bridge says when it refuses; it begins no run."""
    done = checkout.run("python", "src/bridge", check=False, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "publishes it" not in done.stderr
    return done.stderr


def test_results_of_other_parameters_are_not_published(ran):
    before = ids(ran)
    ran.set_params({"train_mlp.learning_rate": 0.5})
    message = "train_mlp.learning_rate is 0.5, but the results were made with 1.0: run dvc repro"
    assert refusal(ran).startswith(f"error: params.yaml: {message}")
    forced = ran.run("dvc", "repro", "--force", "--single-item", "track", check=False)
    assert forced.returncode != 0
    assert message in forced.stderr
    assert ids(ran) == before


@pytest.mark.parametrize("stages", [["train@mlp"], ["train@mlp", "evaluate@mlp"]])
def test_results_of_several_parameters_are_not_published(stages, ran):
    before = ids(ran)
    ran.set_params({"train_mlp.learning_rate": 0.5})
    ran.run("dvc", "repro", *stages)
    expected = r"error: data/\S+ was changed after stage \S+ read it: run dvc repro\n"
    assert re.fullmatch(expected, refusal(ran))
    assert ids(ran) == before


def change_pipeline(checkout):
    """Write the stages otherwise.

    One has no outputs, one an output that is not shown, and parameters are named one by one.
    """
    yaml = YAML()
    content = yaml.load(checkout.root / "dvc.yaml")
    stages = content["stages"]
    train = json.dumps(stages.pop("train")["do"])
    for model in ("linear", "mlp"):
        stages[f"train_{model}"] = json.loads(train.replace("${item}", model))
    keys = (TRAIN | {"hidden_units"}) - {"seed"}
    stages["train_mlp"]["params"] = [f"train_mlp.{key}" for key in keys]
    stages["train_mlp"]["deps"].append("data/prepared")
    stages["prepare"] = {
        "cmd": "echo done > data/prepared",
        "params": ["train_mlp.seed"],
        "outs": ["data/prepared"],
    }
    stages["notify"] = {"cmd": "echo done", "deps": ["reports/models/mlp/metrics.json"]}
    del stages["report"]  # it names the stages
    for name in ("evaluate", "plot"):
        stages[name]["foreach"] = ["linear", "mlp"]
    yaml.dump(content, checkout.root / "dvc.yaml")


def test_parameters_are_compared_however_the_stages_are_written(ran):
    change_pipeline(ran)
    ran.set_params({"train_mlp.learning_rate": 0.5})
    ran.run("dvc", "repro")
    runs = MlflowClient(store(ran)).search_runs(["1"])
    assert Counter(run.data.params["model"] for run in runs) == {"linear": 1, "mlp": 2}
    for key, given, used in [("train_mlp.learning_rate", 0.25, 0.5), ("train_mlp.seed", 5, 0)]:
        ran.set_params({key: given})
        message = f"{key} is {given}, but the results were made with {used}: run dvc repro"
        assert message in refusal(ran)
        ran.set_params({key: used})


WEIGHTS, CURVE = "data/mlp/weights.json", "data/linear/curve.csv"
PICTURE, FRAMES = "reports/models/mlp/boundary.png", "reports/models/mlp/frames"


def test_a_file_that_is_not_what_its_stage_wrote_is_not_published(ran):
    delete_store(ran)
    locked = YAML(typ="safe").load(ran.root / "dvc.lock")["stages"].values()
    written = {out["path"]: out["md5"] for stage in locked for out in stage["outs"]}
    for file, out, content in [
        (WEIGHTS, WEIGHTS, (ran.root / WEIGHTS).read_bytes()[:500]),
        (CURVE, CURVE, b""),
        (PICTURE, PICTURE, b"no picture"),
        (f"{FRAMES}/100.png", FRAMES, b"no picture"),
        (f"{FRAMES}/100.png", FRAMES, None),
        (f"{FRAMES}/other.png", FRAMES, b"one more"),
    ]:
        with changed(ran.root / file, content):
            object_path = f"{written[out][:2]}/{written[out][2:]}"
            told = f"error: {out} is not what its stage wrote (dvc.lock): run dvc repro."
            advice = f"If it says so again, the object {object_path} of DVC's cache is corrupted"
            assert refusal(ran) == f"{told} {advice}: delete it\n"
        assert not (ran.root / "mlflow.db").exists()
    assert ran.run("python", "src/bridge").stdout.count("published") == 2
    assert models_of(ran) == ["linear", "mlp"]


def delete_store(checkout):
    (checkout.root / "mlflow.db").unlink()
    shutil.rmtree(checkout.root / "mlflow-bridge")


@contextlib.contextmanager
def changed(path, content):
    """Let a file have another content, or be missing; not through DVC's link into its cache."""
    good = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    yield
    path.unlink(missing_ok=True)
    if good is not None:
        path.write_bytes(good)


def test_without_dvc_lock_there_is_no_result(ran):
    (ran.root / "dvc.lock").unlink()
    reason = r"stage \S+ has not run, so there is no result to publish: run dvc repro first"
    assert re.fullmatch(f"error: {reason}\n", refusal(ran))


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server that lets nobody in."""

    def do_GET(self):
        body = b'{"error_code": "PERMISSION_DENIED", "message": "not for you"}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def assert_nothing_lost(checkout, address, uri):
    """Publish to a server that is of no use; return what is said of it."""
    begin = time.monotonic()
    done = checkout.run("python", "src/bridge", check=False, MLFLOW_TRACKING_URI=uri)
    # Seconds; about 3 of an unburdened machine, minutes without our settings.
    assert time.monotonic() - begin < 60
    assert (done.returncode, done.stdout) == (1, "")
    assert "s3cret" not in done.stderr
    problem, comfort = done.stderr.splitlines()
    assert problem.startswith(f"error: cannot publish to {address}: ")
    lost = "Nothing that was computed is lost"
    assert comfort == f"{lost}; when that is mended, python src/bridge publishes it."
    return problem


def test_a_server_that_is_down_loses_nothing(ran):
    address = f"http://127.0.0.1:{free_port()}"
    uri = f"{address.replace('//', f'//{SECRET}')}?token=s3cret"
    assert_nothing_lost(ran, address, uri)


def test_a_server_that_refuses_loses_nothing(ran):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{refusing.server_port}"
        uri = f"{address.replace('//', f'//{SECRET}')}?token=s3cret"
        assert "not for you" in assert_nothing_lost(ran, address, uri)
        refusing.shutdown()


def test_a_database_that_cannot_be_made_is_said_at_once(ran):
    uri = f"sqlite:///{250 * 'x'}.db"
    done = ran.run("python", "src/bridge", check=False, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    assert "retried" not in done.stderr
    assert done.stderr.startswith("error: cannot publish to ")


def test_what_a_server_that_was_down_missed_is_published_when_it_is_up(ran, tmp_path):
    delete_store(ran)
    printed = ""
    down = f"http://{SECRET}127.0.0.1:{free_port()}"
    done = ran.run("dvc", "repro", check=False, MLFLOW_TRACKING_URI=down)
    printed += done.stdout + done.stderr
    assert done.returncode != 0
    assert run_stages(done) == ["track"]

    with mlflow_server(tmp_path) as address:
        environment = {
            "MLFLOW_TRACKING_URI": address.replace("//", f"//{SECRET}"),
            "MLFLOW_EXPERIMENT_NAME": "team/spirals",
        }
        done = ran.run("dvc", "repro", **environment)
        printed += done.stdout + done.stderr
        assert run_stages(done) == ["track"]
        # A line for each run, and one for the charts.
        assert len(re.findall("http|View run", done.stdout)) == 3
        assert len(all_complete(address, "team/spirals")) == 2
        assert "up to date" in ran.run("dvc", "status").stdout

    assert len([*(tmp_path / "kept").rglob("loss.png")]) == 2
    assert not (ran.root / "mlflow.db").exists()
    kept = [*(tmp_path / "kept").rglob("*"), *(ran.root / "mlflow-bridge").rglob("*")]
    for file in [*filter(Path.is_file, kept), tmp_path / "server.db"]:
        assert b"s3cret" not in file.read_bytes(), file
    assert "s3cret" not in printed


def test_the_champion_is_that_of_the_committed_data(ran):
    client = MlflowClient(store(ran), store(ran))

    def champion():
        return client.get_run(client.get_model_version_by_alias("spirals", "champion").run_id)

    before = champion()
    assert before.data.params["data.noise"] == "0.2"
    # A better one, on other data.
    changes = ("--set-param", "generate.noise=0.1", "--set-param", "train_mlp.iterations=400")
    ran.run("dvc", "exp", "run", "--name", "easy", *changes)
    others = [run for run in all_complete(store(ran)) if run.data.params["data.noise"] == "0.1"]
    assert (
        max(run.data.metrics["test_accuracy"] for run in others)
        > before.data.metrics["test_accuracy"]
    )
    assert champion().info.run_id == before.info.run_id
    # These data become the committed ones, and another result comes.
    ran.commit("easy data")
    ran.run("dvc", "exp", "run", "--name", "narrow", "--set-param", "train_mlp.hidden_units=3")
    all_complete(store(ran))
    assert champion().data.params["data.noise"] == "0.1"
