"""Publishing, function by function, to stores of its own: one complete run for each result."""

import os
import shutil
import signal
import sys

import pytest
from conftest import ROOT, SMALL, set_params
from runs import all_complete
from sqlalchemy import event
from sqlalchemy.engine import Engine

from evaluate import evaluate
from generate import generate
from plot import plot
from spirals.params import load_params
from spirals.results import read_results
from spirals.store import Store
from spirals.tracking import publish
from train import train_model

pytestmark = pytest.mark.slow
SOURCE = {"commit": "0123456789abcdef", "dirty": False, "experiment": None}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with all that the other stages write, and its parameters."""
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


def store_in(folder, experiment="spirals"):
    return Store(f"sqlite:///{folder / 'mlflow.db'}", experiment, folder / "mlflow.db", folder / "mlruns")


def in_child(function):
    """Calls the function in a process of its own; returns how that ended, as `os.waitpid` says it."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            __import__("traceback").print_exc()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


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


def test_killed_at_any_moment_and_published_again_is_one_complete_run(made, tmp_path):
    (_, result) = read_results(*made)
    template, count = tmp_path / "template", tmp_path / "count"
    template.mkdir()
    assert in_child(lambda: publish([], SOURCE, store_in(template))) == 0

    def publish_in(folder, act):
        at_moments(folder, act)
        publish([result], SOURCE, store_in(folder))

    whole = shutil.copytree(template, tmp_path / "whole")
    assert in_child(lambda: publish_in(whole, lambda number: count.write_text(str(number)))) == 0
    moments = int(count.read_text())
    print(moments)
    for moment in range(1, moments + 1, 1 if moments < 40 else 3):
        folder = shutil.copytree(template, tmp_path / f"killed-{moment}")

        def kill(number, moment=moment):
            if number == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(lambda folder=folder, kill=kill: publish_in(folder, kill)) == signal.SIGKILL
        assert in_child(lambda folder=folder: publish([result], SOURCE, store_in(folder))) == 0
        assert len(all_complete(store_in(folder).uri)) == 1
