"""Check that this machine reproduces the published result: run the pipeline again, and compare.

It clones the committed HEAD into a temporary folder, runs all stages there with an empty DVC
cache and an MLflow store of its own, and compares every output with the committed dvc.lock. The
exit code is 1 if one differs. Nothing is left behind.
"""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
USERS_SETTINGS = ("DVC_", "MLFLOW_", "GIT_")


@dataclass(frozen=True)
class Output:
    """An output of a stage."""

    md5: str
    stage: str


@dataclass(frozen=True)
class Lock:
    """The content of a dvc.lock."""

    outputs: dict[str, Output]  # by path, in the order of the stages
    inputs: dict[str, Any]  # MD5 by path of what no stage wrote; parameters by file and stage


def run(*command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Return the output of a command; if it fails, end the program with that output."""
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}error: {' '.join(command)} failed with exit code {done.returncode}")
    return done.stdout.strip()


def rebuild(clone: Path, folder: Path) -> None:
    """Run every stage, without the user's settings for DVC, MLflow or Git."""
    environment = {}
    for key, value in os.environ.items():
        if not key.startswith(USERS_SETTINGS):
            environment[key] = value
    for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        environment[f"DVC_{kind}_DIR"] = str(folder / "dvc")
    ours = Path(sys.executable).parent  # so that the stages' python is this one
    environment["PATH"] = f"{ours}{os.pathsep}{os.environ['PATH']}"
    run(sys.executable, "-m", "dvc", "repro", "--force", cwd=clone, env=environment)


def read_stages(clone: Path) -> dict[str, Any]:
    """Return the stages of dvc.lock, in the order of dvc.yaml."""
    yaml = YAML(typ="safe")
    declared = yaml.load(clone / "dvc.yaml")["stages"]
    locked = yaml.load(clone / "dvc.lock")["stages"]
    stages = {}
    for stage in declared:
        for name in locked:
            if name.partition("@")[0] == stage:
                stages[name] = locked[name]
    return stages


def read_lock(clone: Path) -> Lock:
    """Read the dvc.lock of a clone."""
    stages = read_stages(clone)
    outputs = {}
    inputs = {}
    for name, stage in stages.items():
        for output in stage.get("outs", []):
            outputs[output["path"]] = Output(output["md5"], name)
    for stage in stages.values():
        for dependency in stage.get("deps", []):
            if dependency["path"] not in outputs:
                inputs[dependency["path"]] = dependency["md5"]
    for name, stage in stages.items():
        for file, values in stage.get("params", {}).items():
            inputs[f"{file} ({name})"] = values
    return Lock(outputs, inputs)


def compare(committed: Lock, rebuilt: Lock) -> list[str]:
    """Print whether each output is the same; return those that differ, with their stages."""
    differing = []
    for path, output in rebuilt.outputs.items():
        expected = committed.outputs.get(path)
        md5 = expected.md5 if expected else "no hash"
        if md5 == output.md5:
            print(f"same     {path}")
        else:
            print(f"DIFFERS  {path}: {md5} in dvc.lock, {output.md5} here")
            differing.append(f"{path} (stage {output.stage})")
    return differing


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
        folder = Path(name)
        clone = folder / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        commit = run("git", "rev-parse", "--short", "HEAD", cwd=clone)
        print(f"Running all of commit {commit} from nothing (about half a minute)", flush=True)
        committed = read_lock(clone)
        rebuild(clone, folder)
        rebuilt = read_lock(clone)

    differing = compare(committed, rebuilt)
    total = len(rebuilt.outputs)
    here = f"commit {commit}, {platform.system()} {platform.machine()}"
    if not differing:
        print(
            "This machine reproduces the published result:"
            f" all {total} outputs are the same ({here})."
        )
        return
    changed = []
    for path, value in rebuilt.inputs.items():
        if committed.inputs.get(path) != value:
            changed.append(path)
    if changed:
        print(
            f"The committed dvc.lock is older than {', '.join(changed)}:"
            " run dvc repro and commit what it changes."
        )
    print(
        f"This machine does not reproduce the published result: {len(differing)} of {total}"
        f" outputs differ, the first is {differing[0]} ({here})."
    )
    sys.exit(1)


if __name__ == "__main__":
    main()
