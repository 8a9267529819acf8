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


def test_rebuilt_from_nothing_gives_the_same_lock(checkout):
    checkout.run("dvc", "repro")
    checkout.commit("results")
    lock = (checkout.root / "dvc.lock").read_bytes()
    checkout.run("git", "clean", "-dfxq", "--exclude", ".dvc/config.local")
    checkout.run("dvc", "repro")
    assert (checkout.root / "dvc.lock").read_bytes() == lock
    assert checkout.run("git", "status", "--porcelain").stdout == ""


def test_plot_parameter_does_not_retrain(checkout):
    checkout.run("dvc", "repro")
    checkout.set_params({"plot.dpi": 70})
    output = checkout.run("dvc", "repro").stdout
    assert "Running stage 'plot'" in output
    assert "Running stage 'train" not in output
    assert "Running stage 'evaluate'" not in output


def test_parameters_changed_back_are_restored(checkout):
    checkout.run("dvc", "repro")
    checkout.commit("results")
    checkout.set_params({"train_mlp.hidden_units": 9})
    checkout.run("dvc", "repro")
    checkout.set_params({"train_mlp.hidden_units": 8})
    output = checkout.run("dvc", "repro").stdout
    assert "Stage 'train_mlp' is cached" in output
    assert "Running stage 'train" not in output
    assert checkout.run("git", "status", "--porcelain").stdout == ""
    assert len(runs(checkout)) == 3


@pytest.mark.parametrize("mode", ["workspace", "temp", "queue"])
def test_experiments_appear_in_dvc_and_in_the_store_of_the_main_checkout(checkout, mode):
    checkout.run("dvc", "repro")
    checkout.commit("results")
    widths = [4, 5, 6]
    if mode == "workspace":
        for width in widths:
            checkout.run("dvc", "exp", "run", "-n", f"width-{width}", "-S", f"train_mlp.hidden_units={width}")
    elif mode == "temp":
        for width in widths:
            checkout.run("dvc", "exp", "run", "--temp", "-n", f"width-{width}", "-S", f"train_mlp.hidden_units={width}")
    else:
        checkout.run("dvc", "exp", "run", "--queue", "-S", "train_mlp.hidden_units=4,5,6")
        checkout.run("dvc", "exp", "run", "--run-all", "-j", "2")
    shown = json.loads(checkout.run("dvc", "exp", "show", "--json").stdout)
    experiments = [
        experiment
        for baseline in shown
        if baseline["rev"] != "workspace"
        for experiment in baseline["experiments"] or []
    ]
    assert len(experiments) == 3
    accuracies = set()
    for experiment in experiments:
        data = experiment["revs"][0]["data"]
        assert data["params"]["params.yaml"]["data"]["train_mlp"]["hidden_units"] in widths
        accuracies.add(data["metrics"]["reports/metrics.json"]["data"]["mlp"]["train_loss"])
    assert len(accuracies) == 3
    found = runs(checkout)
    assert len(found) == 5
    tagged = {name for run in found for name in run.data.tags.get("dvc.experiments", "").split()}
    assert tagged == {experiment["name"] for experiment in experiments}
