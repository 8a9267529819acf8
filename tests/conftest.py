"""What the tests share: parameters that train in a moment, and real checkouts to run DVC in."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from filelock import FileLock
from ruamel.yaml import YAML

import warm
from evaluate import evaluate
from generate import generate
from pipeline.params import HiddenUnits, load_params
from spirals.models import MODELS
from train import train_model

ROOT = Path(__file__).resolve().parents[1]
PARAMS = load_params(ROOT)  # of the repository: the published run
CLASSES = PARAMS.generate.classes

# A shell starts a job in the background with Ctrl-C ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def section(name, **changes):
    """The section of a model in params.yaml, with changes; whatever else it has stays as it is."""
    return msgspec.structs.replace(PARAMS.train(name), **changes)


def widths(name):
    """Names of the parameters of a model that are sizes of its hidden layers."""
    fields = msgspec.structs.fields(section(name))
    return [field.name for field in fields if field.type == HiddenUnits]


def for_every_model(units=None, **values):
    """Changes of the parameters: values for every model, and the size of every hidden layer."""
    changes = {}
    for name in MODELS:
        for key, value in values.items():
            changes[f"train_{name}.{key}"] = value
        for key in widths(name) if units else ():
            changes[f"train_{name}.{key}"] = units
    return changes


# Small enough for many pipelines in one test.
SMALL = {
    **for_every_model(units=8, iterations=20),
    "evaluate.points_per_class": 20,
    "plot.grid": 40,
    "plot.dpi": 60,
}


# What a user has set for these programs. GIT_DIR and its like are set in a hook, and by
# `git rebase --exec`.
OTHERS = ("DVC_", "GIT_", "MLFLOW_", "MPL", "NPY_", "NUMBA_", "OPENBLAS_", "PYTHON")


def forget_settings(forget):
    """Keep the caller's settings out of a test; `forget` takes a variable away.

    That a folder is safe, which git has in GIT_CONFIG_..., stays known.
    """
    for name in list(os.environ):
        if name.startswith(OTHERS) and not name.startswith("GIT_CONFIG"):
            forget(name)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # no test calls home


forget_settings(os.environ.pop)


# Most seconds first, so that no worker of pytest-xdist is left with a long one at the end; the fast
# ones come last. The first need no checkout in which all stages have run: the others would wait
# while one worker makes it.
LONG = [
    "properties",
    "settings",
    "recipes",
    "sweep",
    "publishing",
    "bridge",
    "faults",
    "tracking",
    "sameness",
    "compiled",
    "reproduce",
    "stores",
]


def pytest_ignore_collect(collection_path, config):
    """Leave out the files with slow tests only, where only the fast ones run.

    They import MLflow, which takes more than a second.
    """
    if not config.option.markexpr.startswith("not slow") or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text()
    return bool(re.search(r"^pytestmark = .*\bpytest\.mark\.slow\b", text, re.MULTILINE)) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for name in ("server", "drawn"):  # they take a while, so one worker makes them
            if name in item.fixturenames:
                item.add_marker(pytest.mark.xdist_group(name))
    place = {f"test_{name}": number for number, name in enumerate(LONG)}
    items.sort(
        key=lambda item: (
            not item.get_closest_marker("slow"),
            place.get(item.module.__name__, len(LONG)),
        )
    )


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Nor do those that MLflow sets in this process."""
    forget_settings(monkeypatch.delenv)


@pytest.fixture
def params():
    """The parameters of the repository: the published run."""
    return PARAMS


def set_params(root, changes):
    """Changes values in a checkout's params.yaml; keys as in `dvc exp run -S`."""
    yaml = YAML()
    path = root / "params.yaml"
    content = yaml.load(path)
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    yaml.dump(content, path)


def run_to_metrics(root, changes):
    """Run the stages up to evaluate in this process, with the small parameters and these changes.

    Returns:
        All parameters.
    """
    shutil.copy(ROOT / "params.yaml", root)
    set_params(root, {**SMALL, **changes})
    params = load_params(root)
    generate(params, root)
    for name in MODELS:
        train_model(name, params.train(name), root)
        evaluate(name, params, root)
    return params


def layers(weights, X):
    """What each layer gives before its ReLU, by NumPy's own product; the last are the scores.

    Args:
        weights: matrix and bias of each layer in turn, by name.
        X: points, [N, 2].
    """
    values = [*weights.values()]
    inputs = X
    given = []
    for W, b in zip(values[::2], values[1::2], strict=True):
        given.append(inputs @ W + b)
        inputs = np.maximum(0, given[-1])
    return given


ENDING = ExitStack()  # what is to be done after the last test


@cache
def warm_python():
    """A process that forks for each command, and ends with this one."""
    return ENDING.enter_context(warm.WarmPython())


def pytest_sessionfinish():
    ENDING.close()


class Checkout:
    """A git checkout of the project as it is now, with DVC, and a store of its own."""

    def __init__(self, root, site, warm=True):
        self.root, self.warm = root, warm
        self.environment = {
            # MLflow sets variables of its own, in this process
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("PYTHONWARN", "MLFLOW_"))
            },
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,  # signatures, hooks, line endings
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"DVC_{kind}_DIR": str(site)
                for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")
            },
            "DVC_NO_ANALYTICS": "1",
        }

    def run(self, *command, check=True, **environment):
        """Run a command in the checkout; return the finished process, its output as text.

        Where `warm` is set, DVC and the bridge are forks of a process that has imported both DVC
        and MLflow.
        """
        environment = {**self.environment, **environment}
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            if self.warm:
                environment = warm_python().environment(environment)
            if self.warm and command[0] == "dvc":
                script = str(Path(sys.executable).with_name("dvc"))
                code = warm_python().run(
                    [script, *command[1:]], self.root, environment, [output, errors]
                )
            else:
                code = subprocess.run(
                    command,
                    cwd=self.root,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    timeout=1200,  # seconds
                ).returncode
            output.seek(0), errors.seek(0)
            done = subprocess.CompletedProcess(command, code, output.read(), errors.read())
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def set_params(self, changes):
        set_params(self.root, changes)

    def commit(self, message="change"):
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


def once(tmp_path_factory, name, make):
    """A folder that one of the workers of pytest-xdist makes, for all of them."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    done = folder / f"{name}.done"
    with FileLock(folder / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder / name, ignore_errors=True)  # of one that failed
            make(folder / name)
            done.touch()
    return folder / name


@pytest.fixture(scope="session")
def fresh_template(tmp_path_factory):
    """A checkout of the project as it is now with the small parameters, to be copied.

    All is committed, and nothing has run yet.
    """

    def make(root):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, root / name, follow_symlinks=False)
        made = Checkout(root, None)
        made.run("git", "init", "--quiet", "--initial-branch=main")
        made.run("git", "config", "user.name", "Test")
        made.run("git", "config", "user.email", "test@example.com")
        made.set_params(SMALL)
        made.commit("start")

    return once(tmp_path_factory, "fresh", make)


@pytest.fixture(scope="session")
def ran_template(fresh_template, tmp_path_factory):
    """The same after `dvc repro`, committed: to be copied."""

    def make(root):
        shutil.copytree(fresh_template, root, symlinks=True)
        made = Checkout(root, root.with_name("site"))
        made.run("dvc", "repro")
        made.commit("results")

    return once(tmp_path_factory, "ran", make)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Address of a tracking server, and the folder with all that it keeps."""
    from runs import mlflow_server  # imports MLflow

    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(folder) as address:
        yield address, folder


@pytest.fixture(scope="session")
def database_template(tmp_path_factory):
    """The file of an empty database: to make one takes MLflow seconds."""
    from made import store_in

    from bridge.database import prepare_database

    def make(folder):
        folder.mkdir()
        prepare_database(store_in(folder))

    return once(tmp_path_factory, "database", make) / "mlflow.db"


@pytest.fixture
def empty_store(database_template):
    """Make a folder with a database that has no runs; returns the folder."""

    def make(folder):
        folder.mkdir(parents=True)
        shutil.copy(database_template, folder / "mlflow.db")
        return folder

    return make


def relocated(root, before):
    """Tell the store of a copied checkout where it lies now: MLflow notes absolute paths."""
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (table,) in database.execute(query).fetchall():
            columns = database.execute(f'PRAGMA table_info("{table}")').fetchall()
            for _, column, kind, *_ in columns:
                if kind.startswith(("VARCHAR", "TEXT")):
                    replace_text(database, table, column, str(before), str(root))
    for path in (root / "mlflow-bridge").rglob("MLmodel"):
        path.write_text(path.read_text().replace(str(before), str(root)))


def replace_text(database, table, column, old, new):
    change = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)'
    database.execute(f'{change} WHERE instr("{column}", ?)', (old, new, old))


def copied(template, folder):
    """A copy of a checkout, with a site cache of its own."""
    root = shutil.copytree(template, folder / "project", symlinks=True)
    if (root / "mlflow.db").exists():
        relocated(root, template)
    return Checkout(root, folder / "site")


@pytest.fixture
def checkout(fresh_template, tmp_path):
    """A fresh checkout with the small parameters, committed, nothing run yet."""
    yield copied(fresh_template, tmp_path)
    end_what_is_left(tmp_path)


@pytest.fixture
def ran(ran_template, tmp_path):
    """The same after `dvc repro`, committed; it is a copy, and as if it had run where it is."""
    yield copied(ran_template, tmp_path)
    end_what_is_left(tmp_path)


def end_what_is_left(folder):
    """Kills what a test that failed left running."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                process.kill()


def pytest_xdist_auto_num_workers(config):
    """One more than there are processors: many slow tests wait for something."""
    is_fast = config.option.markexpr == "not slow"
    return os.cpu_count() + (not is_fast)
