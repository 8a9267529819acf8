"""The pipeline as a whole: real DVC in a real checkout, real MLflow in a store of its own."""

import json

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.slow


def runs(checkout):
    """All runs of the checkout's store."""
    client = MlflowClient(f"sqlite:///{checkout.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("spirals")
    return client.search_runs([experiment.experiment_id])


def test_repro_runs_once_and_leaves_everything_in_place(checkout):
    first = checkout.run("dvc", "repro")
    assert "iteration 0: loss" in first.stdout
    again = checkout.run("dvc", "repro")
    assert "Running stage" not in again.stdout
    assert sorted(run.data.params["model"] for run in runs(checkout)) == ["linear", "mlp"]
    checkout.commit("results")
    assert checkout.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in checkout.run("dvc", "status").stdout


def test_what_is_run_again_and_what_is_restored(checkout):
    checkout.run("dvc", "repro")
    checkout.commit("results")
    lock = (checkout.root / "dvc.lock").read_bytes()

    # Rebuilt from nothing: the same bytes.
    checkout.run("git", "clean", "-dfxq")
    assert "Running stage 'train_mlp'" in checkout.run("dvc", "repro").stdout
    assert (checkout.root / "dvc.lock").read_bytes() == lock
    assert checkout.run("git", "status", "--porcelain").stdout == ""

    # A parameter of the plot: nothing is trained or measured.
    checkout.set_params({"plot.dpi": 70})
    output = checkout.run("dvc", "repro").stdout
    assert "Running stage 'plot'" in output
    assert "Running stage 'train" not in output
    assert "Running stage 'evaluate'" not in output

    # Parameters changed back: restored, and not trained.
    checkout.run("git", "checkout", "--quiet", "params.yaml")
    checkout.set_params({"train_mlp.hidden_units": 9})
    assert "Running stage 'train_linear'" not in checkout.run("dvc", "repro").stdout
    checkout.run("git", "checkout", "--quiet", "params.yaml")
    output = checkout.run("dvc", "repro").stdout
    assert "Stage 'train_mlp' is cached" in output
    assert "Running stage 'train" not in output
    assert checkout.run("git", "status", "--porcelain").stdout == ""
    assert len(runs(checkout)) == 3


def test_experiments_appear_in_dvc_and_in_the_store_of_the_main_checkout(checkout):
    """In the workspace, in a throw-away checkout, and queued with two workers."""
    checkout.run("dvc", "repro")
    checkout.commit("results")
    checkout.run("dvc", "exp", "run", "-S", "train_mlp.hidden_units=4")
    checkout.run("git", "checkout", "--quiet", ".")
    checkout.run("dvc", "exp", "run", "--temp", "-S", "train_mlp.hidden_units=5")
    checkout.run("dvc", "exp", "run", "--queue", "-S", "train_mlp.hidden_units=6,7")
    checkout.run("dvc", "exp", "run", "--run-all", "-j", "2")
    (baseline,) = [
        row for row in json.loads(checkout.run("dvc", "exp", "show", "--json").stdout) if row["rev"] != "workspace"
    ]
    widths, losses = set(), set()
    for experiment in baseline["experiments"]:
        data = experiment["revs"][0]["data"]
        widths.add(data["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"])
        losses.add(data["metrics"]["reports/metrics.json"]["data"]["mlp"]["train_loss"])
    assert widths == {4, 5, 6, 7}
    assert len(losses) == 4
    found = runs(checkout)
    assert len(found) == 6
    tagged = {name for run in found for name in run.data.tags.get("dvc.experiments", "").split()}
    assert tagged == {experiment["name"] for experiment in baseline["experiments"]}
