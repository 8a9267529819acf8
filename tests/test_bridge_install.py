"""The bridge as an installed package does what the copied folder does."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

PROJECT = {
    "params.yaml": "rate: 2\n",
    "fit.sh": "grep -o '[0-9]*' params.yaml > loss.json\n",
    "dvc.yaml": """\
stages:
  fit:
    cmd: sh fit.sh
    params: [rate]
    metrics: [loss.json]
""",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without a network from a copy of the folder."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    source = shutil.copytree(ROOT / "src/bridge", folder / "source", ignore=ignored)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, source]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory):
    """The folder with the commands of an environment that the wheel is installed in.

    Packages come from this environment.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(f"{others}\n")
    options = ["--no-deps", "--no-index", "--quiet", "--python", folder / "bin/python"]
    command = [sys.executable, "-m", "pip", *options[3:], "install", *options[:3], wheel]
    subprocess.run(command, check=True)
    return folder / "bin"


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    return tmp_path


def run(folder, *command, commands=None):
    """Run a command with those of this environment, and of another before them."""
    paths = [str(commands)] if commands else []
    paths += [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(paths), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_has_the_modules_and_the_command_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entries,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "dvc-mlflow = bridge.__main__:main" in archive.read(entries).decode()
    modules = {f"bridge/{path.name}" for path in (ROOT / "src/bridge").glob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == modules


def test_installed_it_finds_the_project_and_publishes_what_the_copied_folder_knows(
    commands, project
):
    (project / "secrets.py").write_text("raise SystemExit('secrets of the user')\n")
    run(project, "dvc-mlflow", "init", "--yes", commands=commands)
    assert "cmd: dvc-mlflow\n" in (project / "dvc.yaml").read_text()
    said = run(project, "dvc", "repro", commands=commands)
    assert said.count("published") == 1
    (project / "below").mkdir()
    assert "was there" in run(project / "below", "dvc-mlflow", commands=commands)
    assert "was there" in run(project, "python", str(ROOT / "src/bridge"))
    checked = run(project, "dvc-mlflow", "check", commands=commands)
    assert "PROBLEM" not in checked


def test_installed_it_is_a_module_too_and_has_a_version(commands, project):
    said = run(project, "dvc-mlflow", "--version", commands=commands)
    assert run(project, "python", "-m", "bridge", "--version", commands=commands) == said
    assert run(project, "python", str(ROOT / "src/bridge"), "--version") == said


PAGE = (ROOT / "docs/bridge.md").read_text()
IDENTITY = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"


@pytest.mark.exhaustive
def test_the_page_about_the_bridge_does_what_it_says(commands, tmp_path):
    """With the example of the page; what is installed has its own tests."""
    project = tmp_path / "fit"
    project.mkdir()
    for name, text in re.findall(r"^`([\w.]+)`, .*:\n\n```\w+\n([^`]*)```", PAGE, re.MULTILINE):
        (project / name).write_text(text)
    begin, example = PAGE.split("## No project at hand")
    asked = re.findall(r"^\$ (.*)", example, re.MULTILINE)
    asked += re.findall(r"^\$ (.*)", begin, re.MULTILINE)
    asked = [command for command in asked if not command.startswith(("pip ", "mlflow ui"))]
    assert asked[:3] == ["git init && dvc init", "dvc-mlflow init", "dvc repro"]
    asked[1] += " --yes"
    for command in asked:
        run(project, "sh", "-c", f"export {IDENTITY}; {command}", commands=commands)
    added = re.search(r"`init` adds this:\n\n```yaml\n([^`]*)```", PAGE)[1]
    assert (project / "dvc.yaml").read_text().endswith(added)
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("fit")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.params["fit.rate"] for run in runs} == {"0.1", "0.5"}
    for run_of in runs:
        assert run_of.data.tags["bridge.complete"] == "true"
        assert len(client.get_metric_history(run_of.info.run_id, "loss")) == 20


def test_the_page_names_every_command():
    said = subprocess.run(
        [sys.executable, ROOT / "src/bridge", "--help"], capture_output=True, text=True
    ).stdout
    for command in re.findall(r"^    (\w+)  ", said, re.MULTILINE):
        assert f"| `dvc-mlflow {command}` |" in PAGE
