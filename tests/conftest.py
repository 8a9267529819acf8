"""What the tests share: parameters that train in a moment, and real checkouts to run DVC in."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from pipeline.params import load_params

ROOT = Path(__file__).resolve().parents[1]

# A shell starts a job in the background with Ctrl-C ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Small enough for many pipelines in one test.
SMALL = {
    "train_linear.iterations": 20,
    "train_mlp.iterations": 50,
    "train_mlp.hidden_units": 8,
    "evaluate.points_per_class": 20,
    "plot.grid": 40,
    "plot.dpi": 60,
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No setting of the caller's DVC, MLflow or NumPy reaches a test."""
    for name in list(os.environ):
        if name.startswith(("DVC_", "MLFLOW_", "OPENBLAS_", "NPY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # no test calls home


@pytest.fixture
def params():
    """The parameters of the repository: the published run."""
    return load_params(ROOT)


def set_params(root, changes):
    """Changes values in a checkout's params.yaml; keys as in `dvc exp run -S`."""
    yaml = YAML()
    path = root / "params.yaml"
    content = yaml.load(path)
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    yaml.dump(content, path)


class Checkout:
    """A git checkout of the project as it is now, with DVC, and a store of its own."""

    def __init__(self, root, site):
        self.root = root
        self.environment = {
            # MLflow sets variables of its own, in this process
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHONWARN", "MLFLOW_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(site),
            "DVC_NO_ANALYTICS": "1",
        }

    def run(self, *command, check=True, **environment):
        """Runs a command in the checkout; returns the finished process, its output as text."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=1200,  # seconds
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def set_params(self, changes):
        set_params(self.root, changes)

    def commit(self, message="change"):
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


@pytest.fixture
def checkout(tmp_path):
    """A fresh checkout with the small parameters, committed, nothing run yet."""
    root = tmp_path / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    made = Checkout(root, tmp_path / "site")
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.run("git", "config", "user.name", "Test")
    made.run("git", "config", "user.email", "test@example.com")
    made.set_params(SMALL)
    made.commit("start")
    yield made
    for process in psutil.process_iter():  # what a test that failed left running
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(tmp_path):
                process.kill()
