"""What a user does, and the runs that are there afterwards: real DVC, real MLflow, a checkout for each test."""

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
from ruamel.yaml import YAML
from runs import AFTER, DURING, TRAIN, all_complete, free_port, hashes, md5, mlflow_server, outputs

pytestmark = pytest.mark.slow
REBUILT = [
    "report",
    "track",
]  # never restored from DVC's run cache: they have an output outside the cache


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
    """By name, what `dvc exp show` says of the experiments: params, metrics and more; None of one that failed."""
    shown = json.loads(checkout.run("dvc", "exp", "show", "--json").stdout)
    return {
        experiment["name"]: experiment["revs"][0]["data"]
        for baseline in shown
        if baseline["rev"] != "workspace"
        for experiment in baseline["experiments"] or []
    }


def assert_lineage(checkout):
    """The first two runs lead back to the commit they come from, and to what dvc.lock says of files and parameters."""
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
    number = client.get_experiment_by_name("spirals").experiment_id
    return {
        run.data.params["model"]
        for run in client.search_runs([number], f"tags.`dvc.experiments` LIKE '%{name}%'")
    }


def test_one_run_more_for_each_new_result_and_none_for_an_old_one(ran):
    assert_lineage(ran)
    first = ids(ran)
    assert {model: len(runs) for model, runs in first.items()} == {"linear": 1, "mlp": 1}
    assert run_stages(ran.run("dvc", "repro")) == []
    forced = ran.run("dvc", "repro", "--force")
    assert "track" in run_stages(forced) and "iteration 0: loss" in forced.stdout
    assert ids(ran) == first
    assert "up to date" in ran.run("dvc", "status").stdout
    assert ran.run("git", "status", "--porcelain").stdout == ""

    # A parameter changed, run, changed back, run; it is one of the net's, so the linear result is an old one.
    ran.set_params({"train_mlp.hidden_units": 9})
    assert run_stages(ran.run("dvc", "repro")) == [
        "train@mlp",
        "evaluate@mlp",
        "plot@mlp",
        *REBUILT,
    ]
    second = ids(ran)
    assert second["linear"] == first["linear"] and len(second["mlp"]) == 2
    (changed,) = second["mlp"] - first["mlp"]
    assert MlflowClient(store(ran)).get_run(changed).data.tags["git.dirty"] == "true"
    ran.set_params({"train_mlp.hidden_units": 8})
    assert run_stages(ran.run("dvc", "repro")) == REBUILT
    assert ids(ran) == second
    assert "up to date" in ran.run("dvc", "status").stdout
    ran.run("git", "checkout", "--quiet", "params.yaml")
    assert ran.run("git", "status", "--porcelain").stdout == ""

    # The same experiment twice; the second time there is nothing to run, and its name is known to DVC only.
    for name in ("first-try", "second-try"):
        ran.run("dvc", "exp", "run", "--name", name, "--set-param", "train_mlp.hidden_units=7")
        third = ids(ran)
        assert third["linear"] == first["linear"] and len(third["mlp"]) == 3
    assert found_by_name(store(ran), "first-try") == {"linear", "mlp"}

    # A change of the plot only: the same runs, with the new pictures.
    client = MlflowClient(store(ran))
    script = ran.root / "src/plot.py"
    script.write_text(re.sub("FRAME_CELLS = [0-9]+", "FRAME_CELLS = 50", script.read_text()))
    ran.set_params({"plot.dpi": 70})
    assert run_stages(ran.run("dvc", "repro")) == ["plot@linear", "plot@mlp", *REBUILT]
    assert ids(ran) == third
    (run,) = third["linear"]
    files, pictures = Path(client.download_artifacts(run, "")), ran.root / "reports/models/linear"
    assert md5(files / "reports/models/linear/boundary.png") == md5(pictures / "boundary.png")
    frames = {md5(frame) for frame in (pictures / "frames").iterdir()}
    assert {md5(image) for image in (files / "images").glob(f"{DURING}*.png")} == frames
    assert {md5(image) for image in (files / "images").glob(f"{AFTER}*.png")} == {
        md5(pictures / "boundary.png")
    }

    # The store deleted: the database only, which `make` notices, and all of it.
    (ran.root / "mlflow.db").unlink()
    assert run_stages(ran.run("dvc", "repro")) == []
    ran.run("python", "tools/verify.py")
    assert run_stages(ran.run("dvc", "repro")) == ["track"]
    rebuilt = store(ran).replace(
        "/mlflow.db", "/./mlflow.db"
    )  # MLflow, here, still has the old file open
    assert sorted(run.data.params["model"] for run in all_complete(rebuilt)) == ["linear", "mlp"]
    (ran.root / "mlflow.db").unlink()
    shutil.rmtree(ran.root / "mlruns")
    assert run_stages(ran.run("dvc", "repro")) == ["track"]
    rebuilt = rebuilt.replace("/./", "/././")
    assert sorted(run.data.params["model"] for run in all_complete(rebuilt)) == ["linear", "mlp"]


def test_queued_and_temporary_experiments_publish_to_the_store_of_the_main_checkout(checkout):
    widths = [3, 4, 5, 6, 7]
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
    checkout.run("dvc", "exp", "run", "--run-all", "--jobs", "4")
    checkout.run(
        "dvc", "exp", "run", "--temp", "--name", "apart", "--set-param", "train_mlp.hidden_units=12"
    )
    names = experiments(checkout)
    assert len(names) == 6 and all(names.values())
    used = [
        data["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"]
        for data in names.values()
    ]
    assert sorted(used) == [*widths, 12]
    metrics = [
        data["metrics"]["reports/models/mlp/metrics.json"]["data"]["mlp"] for data in names.values()
    ]
    losses = {measured["train_loss"] for measured in metrics}
    assert len(losses) == 6
    assert {model: len(runs) for model, runs in ids(checkout).items()} == {"linear": 1, "mlp": 6}
    for name in names:
        assert found_by_name(store(checkout), name) == {"linear", "mlp"}
    assert not any(".dvc/tmp" in line for line in dump(checkout.root / "mlflow.db"))


def dump(file):
    """The whole of an SQLite database, as SQL."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def test_a_fresh_clone_trains_nothing_and_what_is_moved_or_deleted_is_mended(ran, tmp_path):
    ran.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    ran.commit("remote")
    ran.run("dvc", "push")
    clone = Checkout(tmp_path / "clone", tmp_path / "clone-site")
    ran.run("git", "clone", "--quiet", ".", str(clone.root))
    clone.run("dvc", "pull")
    assert set(run_stages(clone.run("dvc", "repro"))) <= {*REBUILT}
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in clone.run("dvc", "status").stdout
    before = ids(clone)
    assert {model: len(runs) for model, runs in before.items()} == {"linear": 1, "mlp": 1}

    moved = Checkout(tmp_path / "moved, with spaces" / "Spirálen #1 100%", tmp_path / "clone-site")
    moved.root.parent.mkdir()
    clone.root.rename(moved.root)
    done = moved.run("python", "src/bridge")
    assert done.stdout.count("was there") == 2
    assert ids(moved) == before
    assert not any(f"{clone.root}/" in line for line in dump(moved.root / "mlflow.db"))

    # The artifacts deleted, and the database kept.
    shutil.rmtree(moved.root / "mlruns")
    assert run_stages(moved.run("dvc", "repro")) == ["track"]
    assert ids(moved) == before


def test_what_the_bridge_prints_and_how_little_it_imports(checkout):
    checkout.warm = False
    checkout.run("dvc", "repro", "evaluate", "plot")
    done = checkout.run("python", "src/bridge")
    assert done.stderr == ""
    server = "http://127.0.0.1:5000/#/experiments/1/runs"
    linear, mlp, charts = done.stdout.splitlines()
    page = r"\?workflowType=machine_learning"
    assert re.fullmatch(rf"linear +published +{server}/[0-9a-f]{{32}}{page}", linear)
    assert re.fullmatch(rf"mlp +published +{server}/[0-9a-f]{{32}}{page}", mlp)
    assert charts.endswith(f" {server}?workflowType=machine_learning&compareRunsMode=CHART")
    look = "import runpy, sys; runpy.run_path('src/bridge', run_name='__main__')"
    again = checkout.run(
        "python", "-c", look + "; sys.exit({'mlflow', 'numpy', 'dvc'} & {*sys.modules} or None)"
    )
    assert (again.stdout, again.stderr) == (done.stdout.replace("published", "was there"), "")
    # Another experiment of MLflow, and a database that is deleted, have their own runs.
    other = checkout.run("python", "src/bridge", MLFLOW_EXPERIMENT_NAME="other")
    assert other.stdout.count("published") == len(all_complete(store(checkout), "other")) == 2
    (checkout.root / "mlflow.db").unlink()
    assert checkout.run("python", "src/bridge").stdout.count("published") == 2
    assert len(all_complete(store(checkout).replace("/mlflow.db", "/./mlflow.db"))) == 2


def test_only_what_the_stages_wrote_with_these_parameters_is_published(ran):
    before = ids(ran)
    ran.set_params({"train_mlp.learning_rate": 0.5})
    for command in (
        ["python", "src/bridge"],
        ["dvc", "repro", "--force", "--single-item", "track"],
    ):
        done = ran.run(*command, check=False)
        assert done.returncode != 0
        assert (
            "params.yaml: train_mlp.learning_rate is 0.5, but the results were made with 1.0: run"
            in done.stderr
        )
    # Made of results of these parameters and of others.
    for stage in ("train@mlp", "evaluate@mlp"):
        ran.run("dvc", "repro", stage)
        done = ran.run("python", "src/bridge", check=False)
        assert done.returncode == 1
        assert re.fullmatch(
            r"error: data/\S+ is newer than what was made from it: run dvc repro\n", done.stderr
        )
    assert ids(ran) == before
    # A stage that has no outputs, one whose output is not shown, and parameters that are named one by one.
    yaml = YAML()
    content = yaml.load(ran.root / "dvc.yaml")
    train, stages = content["stages"]["train"]["do"], content["stages"]
    del stages["train"]
    for model in before:
        text = json.dumps(train).replace("${item}", model)
        stages[f"train_{model}"] = json.loads(text)
    stages["train_mlp"]["params"] = [
        f"train_mlp.{key}" for key in (TRAIN | {"hidden_units"}) - {"seed"}
    ]
    stages["train_mlp"]["deps"].append("data/prepared")
    stages["prepare"] = {
        "cmd": "echo done > data/prepared",
        "params": ["train_mlp.seed"],
        "outs": ["data/prepared"],
    }
    stages["notify"] = {"cmd": "echo done", "deps": ["reports/metrics.json"]}
    for name in ("evaluate", "plot"):
        stages[name]["foreach"] = [*before]
    yaml.dump(content, ran.root / "dvc.yaml")
    ran.run("dvc", "repro")
    client = MlflowClient(store(ran))
    models = Counter(run.data.params["model"] for run in client.search_runs(["1"]))
    assert models == {"linear": 1, "mlp": 2}
    for key, given, used in [("train_mlp.learning_rate", 0.25, 0.5), ("train_mlp.seed", 5, 0)]:
        ran.set_params({key: given})
        done = ran.run("python", "src/bridge", check=False)
        assert (
            f"{key} is {given}, but the results were made with {used}: run dvc repro" in done.stderr
        )
        ran.set_params({key: used})
    ran.run("git", "checkout", "--quiet", ".")
    (ran.root / "data/prepared").unlink()  # which no stage writes now
    ran.run("dvc", "repro")

    (ran.root / "mlflow.db").unlink()
    shutil.rmtree(ran.root / "mlruns")
    locked = YAML(typ="safe").load(ran.root / "dvc.lock")["stages"].values()
    written = {out["path"]: out["md5"] for stage in locked for out in stage["outs"]}
    data, reports = ran.root / "data", ran.root / "reports/models"
    last = reports / "mlp/frames/100.png"
    for path, name, content in [
        (
            data / "mlp/weights.json",
            "data/mlp/weights.json",
            (data / "mlp/weights.json").read_bytes()[:500],
        ),
        (data / "linear/curve.csv", "data/linear/curve.csv", b""),
        (reports / "mlp/boundary.png", "reports/models/mlp/boundary.png", b"no picture"),
        (last, "reports/models/mlp/frames", b"no picture"),
        (last, "reports/models/mlp/frames", None),
        (reports / "mlp/frames/other.png", "reports/models/mlp/frames", last.read_bytes()),
    ]:
        good = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)  # not through DVC's link into its cache
        if content is not None:
            path.write_bytes(content)
        done = ran.run("python", "src/bridge", check=False)
        spoiled = f"{written[name][:2]}/{written[name][2:]}"
        told = f"error: {name} is not what its stage wrote (dvc.lock): run dvc repro. If it says so again, the object"
        assert (done.returncode, done.stderr) == (
            1,
            f"{told} {spoiled} of DVC's cache is spoiled: delete it\n",
        )
        assert not (ran.root / "mlflow.db").exists()
        path.unlink(missing_ok=True)
        if good is not None:
            path.write_bytes(good)
    assert ran.run("python", "src/bridge").stdout.count("published") == 2
    # MLflow, here, still has the old file open.
    assert len(all_complete(store(ran).replace("/mlflow.db", "/./mlflow.db"))) == 2
    # Without DVC's notes there is no result.
    (ran.root / "dvc.lock").unlink()
    done = ran.run("python", "src/bridge", check=False)
    told = "error: stage evaluate@linear has not run, so there is no result to publish: run dvc repro first\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


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


def test_a_server_that_is_down_or_refuses_loses_nothing(checkout, tmp_path):
    secret, printed = "user:s3cret-w0rd@", ""

    def track_to(port):
        nonlocal printed
        begin = time.monotonic()
        uri = f"http://{secret}127.0.0.1:{port}?token=s3cret"
        done = checkout.run("python", "src/bridge", check=False, MLFLOW_TRACKING_URI=uri)
        assert (
            time.monotonic() - begin < 60
        )  # seconds; about 3 of an unburdened machine, minutes without our settings
        printed += done.stdout + done.stderr
        assert (done.returncode, done.stdout) == (1, "")
        problem, comfort = done.stderr.splitlines()
        assert problem.startswith(f"error: cannot publish to http://127.0.0.1:{port}: ")
        assert comfort == "Nothing that was computed is lost; python src/bridge publishes it."
        return problem

    done = checkout.run(
        "dvc", "repro", check=False, MLFLOW_TRACKING_URI=f"http://{secret}127.0.0.1:{free_port()}"
    )
    printed += done.stdout + done.stderr
    assert done.returncode != 0 and run_stages(done)[-1] == "track"
    track_to(free_port())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        assert "not for you" in track_to(refusing.server_port)
        refusing.shutdown()
    name = f"{250 * 'x'}.db"  # nor can the file be made in a folder that is read-only, but root may
    done = checkout.run(
        "python", "src/bridge", check=False, MLFLOW_TRACKING_URI=f"sqlite:///{name}"
    )
    assert "retried" not in done.stderr and done.stderr.startswith(
        "error: cannot publish to sqlite:"
    )

    with mlflow_server(tmp_path) as address:
        environment = {
            "MLFLOW_TRACKING_URI": address.replace("http://", f"http://{secret}"),
            "MLFLOW_EXPERIMENT_NAME": "team/spirals",
        }
        done = checkout.run("dvc", "repro", **environment)
        printed += done.stdout + done.stderr
        assert run_stages(done) == ["track"]
        assert (
            len(re.findall("http|View run", done.stdout)) == 3
        )  # a line for each run, and one for the charts
        assert len(all_complete(address, "team/spirals")) == 2
        assert "up to date" in checkout.run("dvc", "status").stdout
    assert (
        len(list((tmp_path / "kept").rglob("loss.png"))) == 2
    )  # the server's part, and not of the checkout
    assert not (checkout.root / "mlflow.db").exists()
    kept = [
        file
        for folder in (tmp_path / "kept", checkout.root / "mlruns")
        for file in folder.rglob("*")
    ]
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
