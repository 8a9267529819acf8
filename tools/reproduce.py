"""Does this machine reproduce the published result? Rebuilds everything from nothing, and compares.

Clones the committed HEAD into a scratch folder, runs the whole pipeline there with an empty
DVC cache and an MLflow store of its own, and compares every output with the committed
dvc.lock. Exit code 1 if one differs. Nothing is left behind.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


def run(*command, cwd=ROOT, env=None):
    """Output of a command; ends the program, with what the command said, if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}error: {' '.join(command)} failed with exit code {done.returncode}")
    return done.stdout.strip()


def rebuild(clone, scratch):
    """Runs every stage, with no setting of the user's DVC, MLflow or git."""
    private = ("DVC_", "MLFLOW_", "GIT_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(private)}
    for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        environment[f"DVC_{kind}_DIR"] = str(scratch / "dvc")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the stages' python is this one
    run(
        sys.executable,
        "-m",
        "dvc",
        "repro",
        "--force",
        cwd=clone,
        env={**environment, "PATH": path},
    )


def read_lock(clone):
    """Of dvc.lock: the hashes of the outputs, in the order of the stages, and everything else that was read."""
    yaml = YAML(typ="safe")
    order, locked = (yaml.load(clone / name)["stages"] for name in ("dvc.yaml", "dvc.lock"))
    stages = {
        name: locked[name] for stage in order for name in locked if name.partition("@")[0] == stage
    }
    outputs = {
        out["path"]: (out["md5"], name) for name in stages for out in stages[name].get("outs", [])
    }
    deps = [dep for name in stages for dep in stages[name].get("deps", [])]
    inputs = {dep["path"]: dep["md5"] for dep in deps if dep["path"] not in outputs}
    inputs |= {
        f"{file} ({name})": values
        for name in stages
        for file, values in stages[name].get("params", {}).items()
    }
    return outputs, inputs


def main():
    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        scratch = Path(folder)
        clone = scratch / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        commit = run("git", "rev-parse", "--short", "HEAD", cwd=clone)
        print(f"Rebuilding commit {commit} from nothing (about half a minute)", flush=True)
        committed, inputs = read_lock(clone)
        rebuild(clone, scratch)
        ours, inputs_now = read_lock(clone)

    differing = []
    for path, (md5, stage) in ours.items():
        if committed.get(path, ("no hash",))[0] == md5:
            print(f"same     {path}")
        else:
            differing.append(f"{path} (stage {stage})")
            print(
                f"DIFFERS  {path}: {committed.get(path, ('no hash',))[0]} in dvc.lock, {md5} here"
            )
    here = f"commit {commit}, {platform.system()} {platform.machine()}"
    if not differing:
        print(
            f"This machine reproduces the published result: all {len(ours)} outputs are the same ({here})."
        )
        return
    stale = [name for name, value in inputs_now.items() if inputs.get(name) != value]
    if stale:
        print(
            f"The committed dvc.lock is older than {', '.join(stale)}: run dvc repro and commit what it changes."
        )
    print(
        f"This machine does not reproduce the published result: {len(differing)} of {len(ours)} outputs differ,"
        f" the first is {differing[0]} ({here})."
    )
    sys.exit(1)


if __name__ == "__main__":
    main()
