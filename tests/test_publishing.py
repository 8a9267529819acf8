"""What a user does, and the runs that are there afterwards: real DVC, real MLflow, a checkout for each test."""

import contextlib
import http.server
import json
import re
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from conftest import Checkout
from mlflow import MlflowClient
from ruamel.yaml import YAML
from runs import TRAIN, all_complete, free_port, md5, mlflow_server

pytestmark = pytest.mark.slow
REBUILT = ["report", "track"]  # never restored from DVC's run cache: they have an output outside the cache


def store(checkout):
    return f"sqlite:///{checkout.root / 'mlflow.db'}"


def ids(checkout):
    """Run ids by model, of a store whose runs are all complete."""
    found = {}
    for run in all_complete(store(checkout)):
        found.setdefault(run.data.params["model"], set()).add(run.info.run_id)
    return found


def ran(done):
    """The stages that a `dvc repro` or `dvc exp run` has run."""
    return re.findall(r"Running stage '(\w+)'", done.stdout)


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
    """The first two runs lead back to the commit, and to what dvc.lock says of its data and parameters."""
    stages = YAML(typ="safe").load(checkout.root / "dvc.lock")["stages"]
    written = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    sections = stages["track"]["params"]["params.yaml"]
    commit = checkout.run("git", "rev-parse", "HEAD").stdout.strip()
    for run in all_complete(store(checkout)):
        model = run.data.params["model"]
        hashes = {key: value for key, value in run.data.tags.items() if key.startswith("dvc.md5.")}
        files = ["data/spirals.csv", f"data/{model}.json", f"data/{model}_curve.csv"]
        assert hashes == {f"dvc.md5.{file}": written[file] for file in files}
        params = {f"data.{key}": value for key, value in sections["generate"].items()}
        params |= {f"test.{key}": value for key, value in sections["evaluate"].items()} | sections[f"train_{model}"]
        assert {key: float(value) for key, value in run.data.params.items() if key != "model"} == params
        assert run.data.tags["mlflow.source.git.commit"] == commit
        assert run.data.tags["git.dirty"] == "false"


def found_by_name(uri, name):
    """Models of the runs that the filter of the README finds for an experiment's name."""
    client = MlflowClient(uri, uri)
    number = client.get_experiment_by_name("spirals").experiment_id
    return {run.data.params["model"] for run in client.search_runs([number], f"tags.`dvc.experiments` LIKE '%{name}%'")}


def test_one_run_more_for_each_new_result_and_none_for_an_old_one(checkout):
    assert "iteration 0: loss" in checkout.run("dvc", "repro").stdout
    assert_lineage(checkout)
    checkout.commit("results")
    first = ids(checkout)
    assert {model: len(runs) for model, runs in first.items()} == {"linear": 1, "mlp": 1}
    assert ran(checkout.run("dvc", "repro")) == []
    assert "track" in ran(checkout.run("dvc", "repro", "--force"))
    assert ids(checkout) == first
    assert "up to date" in checkout.run("dvc", "status").stdout
    assert checkout.run("git", "status", "--porcelain").stdout == ""

    # A parameter changed, run, changed back, run; it is one of the net's, so the linear result is an old one.
    checkout.set_params({"train_mlp.hidden_units": 9})
    assert ran(checkout.run("dvc", "repro")) == ["train_mlp", "evaluate", "plot", *REBUILT]
    second = ids(checkout)
    assert second["linear"] == first["linear"] and len(second["mlp"]) == 2
    (changed,) = second["mlp"] - first["mlp"]
    assert MlflowClient(store(checkout)).get_run(changed).data.tags["git.dirty"] == "true"
    checkout.set_params({"train_mlp.hidden_units": 8})
    assert ran(checkout.run("dvc", "repro")) == REBUILT
    assert ids(checkout) == second
    assert "up to date" in checkout.run("dvc", "status").stdout
    checkout.run("git", "checkout", "--quiet", "params.yaml")
    assert checkout.run("git", "status", "--porcelain").stdout == ""

    # The same experiment twice; the second time there is nothing to run, and its name is known to DVC only.
    for name in ("first-try", "second-try"):
        checkout.run("dvc", "exp", "run", "--name", name, "--set-param", "train_mlp.hidden_units=7")
        third = ids(checkout)
        assert third["linear"] == first["linear"] and len(third["mlp"]) == 3
    assert found_by_name(store(checkout), "first-try") == {"linear", "mlp"}

    # A change of the plot only: the same runs, with the new pictures.
    client = MlflowClient(store(checkout))
    script = checkout.root / "src/plot.py"
    script.write_text(re.sub("FRAME_CELLS = [0-9]+", "FRAME_CELLS = 50", script.read_text()))
    checkout.set_params({"plot.dpi": 70})
    assert ran(checkout.run("dvc", "repro")) == ["plot", *REBUILT]
    assert ids(checkout) == third
    (run,) = third["linear"]
    files = Path(client.download_artifacts(run, ""))
    assert md5(files / "boundary_linear.png") == md5(checkout.root / "reports/figures/boundary_linear.png")
    frames = {md5(frame) for frame in (checkout.root / "data/frames/linear").iterdir()}
    assert {md5(image) for image in (files / "images").glob("*.png")} == frames

    # The store deleted: the database only, which `make` notices, and all of it.
    (checkout.root / "mlflow.db").unlink()
    assert ran(checkout.run("dvc", "repro")) == []
    checkout.run("python", "src/verify.py")
    assert ran(checkout.run("dvc", "repro")) == ["track"]
    rebuilt = store(checkout).replace("/mlflow.db", "/./mlflow.db")  # MLflow, here, still has the old file open
    assert sorted(run.data.params["model"] for run in all_complete(rebuilt)) == ["linear", "mlp"]
    (checkout.root / "mlflow.db").unlink()
    shutil.rmtree(checkout.root / "mlruns")
    assert ran(checkout.run("dvc", "repro")) == ["track"]
    rebuilt = rebuilt.replace("/./", "/././")
    assert sorted(run.data.params["model"] for run in all_complete(rebuilt)) == ["linear", "mlp"]


def test_queued_and_temporary_experiments_publish_to_the_store_of_the_main_checkout(checkout):
    widths = [3, 4, 5, 6, 7, 9, 10, 11]
    checkout.run("dvc", "exp", "run", "--queue", "--set-param", f"train_mlp.hidden_units={','.join(map(str, widths))}")
    checkout.run("dvc", "exp", "run", "--run-all", "--jobs", "4")
    checkout.run("dvc", "exp", "run", "--temp", "--name", "apart", "--set-param", "train_mlp.hidden_units=12")
    names = experiments(checkout)
    assert len(names) == 9 and all(names.values())
    used = [data["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"] for data in names.values()]
    assert sorted(used) == [*widths, 12]
    losses = {data["metrics"]["reports/metrics.json"]["data"]["mlp"]["train_loss"] for data in names.values()}
    assert len(losses) == 9
    assert {model: len(runs) for model, runs in ids(checkout).items()} == {"linear": 1, "mlp": 9}
    for name in names:
        assert found_by_name(store(checkout), name) == {"linear", "mlp"}
    assert not any(".dvc/tmp" in line for line in dump(checkout.root / "mlflow.db"))


def dump(file):
    """The whole of an SQLite database, as SQL."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def test_a_fresh_clone_trains_nothing_and_what_is_moved_or_deleted_is_mended(checkout, tmp_path):
    checkout.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    checkout.run("dvc", "repro")
    checkout.commit("results")
    checkout.run("dvc", "push")
    clone = Checkout(tmp_path / "clone", tmp_path / "clone-site")
    checkout.run("git", "clone", "--quiet", ".", str(clone.root))
    clone.run("dvc", "pull")
    assert set(ran(clone.run("dvc", "repro"))) <= {*REBUILT}
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in clone.run("dvc", "status").stdout
    before = ids(clone)
    assert {model: len(runs) for model, runs in before.items()} == {"linear": 1, "mlp": 1}

    moved = Checkout(tmp_path / "moved, with spaces" / "Spirálen #1 100%", tmp_path / "clone-site")
    moved.root.parent.mkdir()
    clone.root.rename(moved.root)
    done = moved.run("python", "src/track.py")
    assert done.stdout.count("was there") == 2
    assert ids(moved) == before
    assert not any(f"{clone.root}/" in line for line in dump(moved.root / "mlflow.db"))

    # The artifacts deleted, and the database kept.
    shutil.rmtree(moved.root / "mlruns")
    assert ran(moved.run("dvc", "repro")) == ["track"]
    assert ids(moved) == before


def test_what_track_prints_and_how_little_it_imports(checkout):
    checkout.run("dvc", "repro", "evaluate", "plot")
    done = checkout.run("python", "src/track.py")
    assert done.stderr == ""
    server = "http://127.0.0.1:5000/#/experiments/1/runs"
    linear, mlp, charts = done.stdout.splitlines()
    assert re.fullmatch(rf"linear +published +{server}/[0-9a-f]{{32}}", linear)
    assert re.fullmatch(rf"mlp +published +{server}/[0-9a-f]{{32}}", mlp)
    assert charts.endswith(f" {server}?workflowType=machine_learning&compareRunsMode=CHART")
    look = "import sys; sys.path.insert(0, 'src'); import track; track.main()"
    again = checkout.run("python", "-c", look + "; sys.exit({'mlflow', 'numpy'} & {*sys.modules} or None)")
    assert (again.stdout, again.stderr) == (done.stdout.replace("published", "was there"), "")
    # Another experiment of MLflow, and a database that is deleted, have their own runs.
    other = checkout.run("python", "src/track.py", MLFLOW_EXPERIMENT_NAME="other")
    assert other.stdout.count("published") == len(all_complete(store(checkout), "other")) == 2
    (checkout.root / "mlflow.db").unlink()
    assert checkout.run("python", "src/track.py").stdout.count("published") == 2
    assert len(all_complete(store(checkout).replace("/mlflow.db", "/./mlflow.db"))) == 2


def test_only_what_the_stages_wrote_with_these_parameters_is_published(checkout):
    checkout.run("dvc", "repro")
    before = ids(checkout)
    checkout.set_params({"train_mlp.learning_rate": 0.5})
    for command in (["python", "src/track.py"], ["dvc", "repro", "--single-item", "track"]):
        done = checkout.run(*command, check=False)
        assert done.returncode != 0
        assert "params.yaml: train_mlp.learning_rate is 0.5, but the results were made with 1.0: run" in done.stderr
    # Made of results of these parameters and of others.
    for stage in ("train_mlp", "evaluate"):
        checkout.run("dvc", "repro", stage)
        done = checkout.run("python", "src/track.py", check=False)
        assert done.returncode == 1
        assert re.fullmatch(r"error: data/\S+ is newer than what was made from it: run dvc repro\n", done.stderr)
    assert ids(checkout) == before
    # A stage that has no outputs, one whose output is not shown, and parameters that are named one by one.
    stages = checkout.root / "dvc.yaml"
    one_by_one = ", ".join(f"train_mlp.{key}" for key in (TRAIN | {"hidden_units"}) - {"seed"})
    text = stages.read_text().replace("params: [train_mlp]", f"params: [{one_by_one}]")
    assert one_by_one in text
    text = text.replace("    deps:\n", "    deps:\n      - data/prepared\n", 1)  # of generate
    text += "\n  prepare: {cmd: echo done > data/prepared, params: [train_mlp.seed], outs: [data/prepared]}\n"
    stages.write_text(text + "  notify: {cmd: echo done, deps: [reports/metrics.json]}\n")
    checkout.run("dvc", "repro")
    assert len(ids(checkout)["mlp"]) == 2
    for key, given, used in [("train_mlp.learning_rate", 0.25, 0.5), ("train_mlp.seed", 5, 0)]:
        checkout.set_params({key: given})
        done = checkout.run("python", "src/track.py", check=False)
        assert f"{key} is {given}, but the results were made with {used}: run dvc repro" in done.stderr
        checkout.set_params({key: used})
    checkout.run("git", "checkout", "--quiet", ".")
    checkout.run("dvc", "repro")

    (checkout.root / "mlflow.db").unlink()
    data, figures = checkout.root / "data", checkout.root / "reports/figures"
    last = data / "frames/mlp/100.png"
    for path, name, content in [
        (data / "mlp.json", "data/mlp.json", (data / "mlp.json").read_bytes()[:500]),
        (data / "linear_curve.csv", "data/linear_curve.csv", b""),
        (figures / "boundary_mlp.png", "reports/figures/boundary_mlp.png", b"no picture"),
        (last, "data/frames", b"no picture"),
        (last, "data/frames", None),
        (data / "frames/mlp/other.png", "data/frames", last.read_bytes()),
    ]:
        good = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)  # not through DVC's link into its cache
        if content is not None:
            path.write_bytes(content)
        done = checkout.run("python", "src/track.py", check=False)
        told = f"error: {name} is not what its stage wrote (dvc.lock). Run make, which makes it anew.\n"
        assert (done.returncode, done.stderr) == (1, told)
        assert not (checkout.root / "mlflow.db").exists()
        path.unlink(missing_ok=True)
        if good is not None:
            path.write_bytes(good)
    assert checkout.run("python", "src/track.py").stdout.count("published") == 2
    # Without DVC's notes, where the scripts run without DVC, there is nothing to compare with.
    (checkout.root / "dvc.lock").unlink()
    checkout.set_params({"plot.dpi": 70})
    checkout.run("python", "src/plot.py")
    assert checkout.run("python", "src/track.py").stdout.count("was there") == 2


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
        done = checkout.run(
            "python", "src/track.py", check=False, MLFLOW_TRACKING_URI=f"http://{secret}127.0.0.1:{port}"
        )
        assert time.monotonic() - begin < 60  # seconds; about 3 of an unburdened machine, minutes without our settings
        printed += done.stdout + done.stderr
        assert (done.returncode, done.stdout) == (1, "")
        problem, comfort = done.stderr.splitlines()
        assert problem.startswith(f"error: cannot publish to http://127.0.0.1:{port}: ")
        assert comfort == "Nothing that was computed is lost; python src/track.py publishes it."
        return problem

    done = checkout.run("dvc", "repro", check=False, MLFLOW_TRACKING_URI=f"http://{secret}127.0.0.1:{free_port()}")
    printed += done.stdout + done.stderr
    assert done.returncode != 0 and ran(done)[-1] == "track"
    track_to(free_port())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        assert "not for you" in track_to(refusing.server_port)
        refusing.shutdown()

    with mlflow_server(tmp_path) as address:
        environment = {
            "MLFLOW_TRACKING_URI": address.replace("http://", f"http://{secret}"),
            "MLFLOW_EXPERIMENT_NAME": "team/spirals",
        }
        done = checkout.run("dvc", "repro", **environment)
        printed += done.stdout + done.stderr
        assert ran(done) == ["track"]
        assert len(re.findall("http|View run", done.stdout)) == 3  # a line for each run, and one for the charts
        assert len(all_complete(address, "team/spirals")) == 2
        assert "up to date" in checkout.run("dvc", "status").stdout
    assert len(list((tmp_path / "kept").rglob("loss_*.png"))) == 2  # the server's part, and not of the checkout
    assert not (checkout.root / "mlflow.db").exists()
    kept = [file for folder in (tmp_path / "kept", checkout.root / "mlruns") for file in folder.rglob("*")]
    for file in [*filter(Path.is_file, kept), tmp_path / "server.db"]:
        assert b"s3cret" not in file.read_bytes(), file
    assert "s3cret" not in printed
