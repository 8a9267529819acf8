"""Try the bridge with pairs of DVC and MLflow, each in an environment of its own.

    python maintenance/versions.py [PAIR ...]

Needs the network, uv, and the Pythons of the pairs, which uv finds or fetches. A pair takes about
two minutes. The project is that of the tests, tests/strange, which has templates, `foreach`,
`matrix`, a second dvc.yaml, TOML, and tables of every kind. Prints the rows of the table in
docs/bridge.md.
"""

import argparse
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STRANGE = ROOT / "tests/strange"
UV = Path(sys.executable).with_name("uv")
NEEDED = ["filelock", "msgspec", "pillow"]


@dataclass(frozen=True)
class Pair:
    """What is installed: a Python, and requirements."""

    python: str
    packages: list[str]


PAIRS = {
    "oldest": Pair(
        "3.11",
        ["dvc==3.50.3", "mlflow==3.1.4", "numpy<2", "sqlalchemy<2.1", "pathspec<1"],
    ),
    "mlflow-3.5": Pair("3.12", ["dvc==3.60.1", "mlflow==3.5.1", "sqlalchemy<2.1", "pathspec<1"]),
    "mlflow-3.10": Pair("3.12", ["dvc==3.64.2", "mlflow==3.10.1", "numpy<2", "pathspec<1"]),
    "newest": Pair("3.13", ["dvc", "mlflow", "numpy"]),
    "mlflow-2": Pair("3.11", ["dvc==3.67.1", "mlflow==2.22.2", "sqlalchemy<2.1", "numpy<2.3"]),
}

# Run in the environment, in the project: all runs are complete, and the champion can be loaded.
LOOK = """
import mlflow, numpy, sys
uri = "sqlite:///mlflow.db"
mlflow.set_tracking_uri(uri)
client = mlflow.MlflowClient(uri, uri)
experiment = client.get_experiment_by_name("weather")
runs = client.search_runs([experiment.experiment_id])
assert len(runs) == int(sys.argv[1]), f"{len(runs)} runs"
for run in runs:
    assert run.info.status == "FINISHED" and run.data.tags["bridge.complete"] == "true"
    assert len(run.data.metrics) >= 3 and run.data.params
    assert client.list_artifacts(run.info.run_id), "no artifacts"
if len(sys.argv) > 2:
    model = mlflow.pyfunc.load_model("models:/weather@champion")
    assert model.predict(numpy.array([[1.0, 2.0]])).shape
"""


class Trial:
    """The strange project in a folder, with an environment of its own."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self.root = folder / "weather"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "MLFLOW_", "DVC_"))
        }
        self.environment |= {
            "VIRTUAL_ENV": str(folder / "venv"),
            "PATH": f"{folder / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.root.mkdir()
        self.run(str(UV), "venv", "--quiet", "--python", pair.python, str(folder / "venv"))
        self.run(str(UV), "pip", "install", "--quiet", *pair.packages, *NEEDED)

    def run(self, *command: str) -> str:
        """Return what a command prints; RuntimeError with its last lines where it fails."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            errors = [line for line in lines if "rror" in line] or lines
            raise RuntimeError(f"{' '.join(command)[:60].split()}: {errors[-1]}")
        return done.stdout

    def set(self, old: str, new: str) -> None:
        """Change params.yaml."""
        path = self.root / "params.yaml"
        path.write_text(path.read_text().replace(old, new))

    def begin(self) -> None:
        """Copy the project and the bridge, and add the stage that publishes."""
        shutil.copytree(STRANGE / "project", self.root, dirs_exist_ok=True)
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src/bridge", self.root / "bridge", ignore=no_bytecode)
        (self.root / ".gitignore").write_text("*.swp")  # without an end of the line
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "Somebody")
        self.run("git", "config", "user.email", "somebody@example.com")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "add", "--quiet", "raw/stations.csv", "raw/photos")
        self.run("python", "bridge", "init", "--yes")
        self.commit()

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "state")

    def publish(self) -> None:
        """Run the pipeline in several ways: each distinct result is one complete run."""
        self.run("dvc", "repro")
        self.commit()
        assert "was there" in self.run("python", "bridge"), "published twice"
        self.run("dvc", "exp", "run", "--name", "six", "--set-param", "fit.epochs=6")
        self.run("dvc", "exp", "run", "--temp", "--name", "seven", "-S", "fit.epochs=7")
        self.run("git", "checkout", ".")
        self.run("dvc", "repro", "--force")
        self.run("python", "-c", LOOK, "3")
        assert "up to date" in self.run("dvc", "status"), "dvc status"
        (self.root / "mlflow.db").unlink()
        self.run("python", "bridge", "publish", "--all-commits")
        self.run("python", "-c", LOOK, "3")

    def publish_models(self) -> None:
        """The same with mlflow.yaml: a run for each of two models, and a champion."""
        (self.root / "mlflow.db").unlink()
        shutil.copytree(STRANGE / "model", self.root, dirs_exist_ok=True)
        self.run("python", "bridge", "init", "--yes", "--force")
        self.run("dvc", "repro")
        self.run("python", "-c", LOOK, "2", "champion")
        self.check_fast()

    def check_fast(self) -> None:
        """Check that what is there is found without MLflow, whose tables are known."""
        command = ["python", "-X", "importtime", "bridge"]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True
        )
        assert done.stdout.count("was there") == 2, done.stdout + done.stderr
        assert "| mlflow\n" not in done.stderr, "this version's tables are not known"

    def versions(self) -> str:
        """Return what is installed, as cells of a table."""
        code = "import sys; from importlib.metadata import version; "
        code += (
            "print(sys.version.split()[0], *[version(name) for name in sys.argv[1:]], sep=' | ')"
        )
        return self.run("python", "-c", code, "dvc", "mlflow", "numpy", "sqlalchemy").strip()


def try_pair(pair: Pair) -> str:
    """Return a row of the table: what is installed, and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            trial = Trial(Path(folder), pair)
        except RuntimeError as error:
            return f"| {pair.python} | {' '.join(pair.packages)} | cannot be installed: {error} |"
        try:
            trial.begin()
            trial.publish()
            trial.publish_models()
            outcome = "works"
        except (AssertionError, RuntimeError) as error:
            outcome = str(error)
        return f"| {trial.versions()} | {outcome} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Try the bridge with pairs of DVC and MLflow.")
    parser.add_argument("pairs", nargs="*", default=list(PAIRS), metavar="PAIR", help=str([*PAIRS]))
    arguments = parser.parse_args()
    print(f"{datetime.date.today()}\n")
    print("| Python | DVC | MLflow | NumPy | SQLAlchemy | |\n|---|---|---|---|---|---|")
    for name in arguments.pairs:
        print(try_pair(PAIRS[name]), flush=True)


if __name__ == "__main__":
    main()
