"""What an experiment costs: DVC's commands, against the same scripts one after another; memory.

Everything happens in clones of the last commit, with a DVC cache and an MLflow store of their own.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import sources  # noqa: E402

LIMIT = 600  # seconds that one command may take
QUEUED = 8


def environment(folder):
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DVC_", "MLFLOW_", "OPENBLAS_CORE"))
    }
    here = Path(sys.executable).parent
    return {
        **kept,
        "PATH": f"{here}{os.pathsep}{kept['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }


def run(*command, cwd):
    """Runs a command in a clone; returns its seconds and its peak memory in MB."""
    begin = time.perf_counter()
    with open(cwd.parent / "log.txt", "w") as log:
        process = subprocess.Popen(
            ["timeout", str(LIMIT), *command],
            cwd=cwd,
            env=environment(cwd.parent),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(
            f"{' '.join(command)} failed:\n{(cwd.parent / 'log.txt').read_text()[-2000:]}"
        )
    return seconds, usage.ru_maxrss / 1024


def clone(folder, changes):
    """A clone with its own parameters, committed: what `dvc exp run` starts from."""
    folder.mkdir(parents=True)
    made = folder / "clone"
    run("git", "clone", "--quiet", str(ROOT), str(made), cwd=folder)
    for key, value in {"user.name": "bench", "user.email": "bench@example.com"}.items():
        run("git", "config", key, value, cwd=made)
    change(made, changes)
    run("git", "commit", "--quiet", "--allow-empty", "--all", "--message", "parameters", cwd=made)
    return made


def change(checkout, changes):
    yaml = YAML()
    content = yaml.load(checkout / "params.yaml")
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    yaml.dump(content, checkout / "params.yaml")


def stages():
    """Names and commands, in the order in which they can run."""
    return {name: stage["cmd"].split() for name, stage in sources.stages().items()}


def plain(folder, changes, publish=True):
    """The stage scripts one after another, with or without track: (seconds, MB) by stage."""
    made = clone(folder, changes)
    if publish:  # what dvc.lock says, and to a new store
        run("dvc", "repro", cwd=made)
        (made / "mlflow.db").unlink()
        shutil.rmtree(made / "mlflow-bridge")
    return {
        name: run(*command, cwd=made)
        for name, command in stages().items()
        if publish or name != "track"
    }


def imports(folder):
    """Seconds that Python takes to start and to import each stage's script, by stage."""
    made = clone(folder, {})
    code = "import runpy, sys; sys.path.insert(0, 'src'); runpy.run_path({!r}, run_name='imported')"
    return {
        name: run("python", "-c", code.format(command[2]), cwd=made)[0]
        for name, command in stages().items()
    }


def case_study(folder):
    folder.mkdir(parents=True)
    return run("python", str(ROOT / "benchmarks" / "case_study.py"), cwd=folder)[0]


def commands(folder, changes, experiments):
    """DVC's commands on a fresh clone, `dvc exp` only if wanted: seconds by what they do."""
    made = clone(folder, changes)
    took = {}

    def time_it(name, *command):
        took[name] = run(*command, cwd=made)[0]

    time_it("cold `dvc repro`", "dvc", "repro")
    time_it("`dvc status`", "dvc", "status")
    time_it("`dvc repro`, nothing to do", "dvc", "repro")
    run("git", "commit", "--quiet", "--allow-empty", "--all", "--message", "results", cwd=made)
    change(made, {"train_mlp.l2": 0.002})
    time_it("`dvc repro`, a parameter of the network changed", "dvc", "repro")
    change(made, {"train_mlp.l2": 0.001})
    time_it("`dvc repro`, changed back", "dvc", "repro")
    if not experiments:
        return took
    time_it("`dvc exp run`", "dvc", "exp", "run", "--set-param", "train_mlp.l2=0.003")
    run("git", "checkout", "--quiet", "--", ".", cwd=made)
    time_it(
        "`dvc exp run --temp`", "dvc", "exp", "run", "--temp", "--set-param", "train_mlp.l2=0.004"
    )
    values = ",".join(f"{0.005 + 0.001 * n:.3f}" for n in range(QUEUED))
    time_it(
        f"queue {QUEUED} experiments",
        "dvc",
        "exp",
        "run",
        "--queue",
        "--set-param",
        f"train_mlp.l2={values}",
    )
    time_it(f"run the {QUEUED}, two at a time", "dvc", "exp", "run", "--run-all", "--jobs", "2")
    return took
