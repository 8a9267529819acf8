"""What the workers share, and which experiments they have finished."""

import os
import subprocess
from collections.abc import Mapping

from ruamel.yaml import YAML

from bridge.store import redact_address
from pipeline import paths
from pipeline.errors import UserError
from worker import Job

# What the workers take from the last commit.
INPUTS = ("src", "params.yaml", "dvc.yaml", "mlflow.yaml")
SENT = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")  # no passwords


def last_commit() -> str:
    """Return the commit that the workers run.

    Raises:
        UserError: something that they take from it has changed since.
    """
    if output("git", "status", "--porcelain", "--", *INPUTS):
        raise UserError(
            f"the workers run the last commit, and {', '.join(INPUTS)} have changed since:"
            " commit first"
        )
    return output("git", "rev-parse", "HEAD")


def local_job(commit: str) -> Job:
    """Return the job for workers of this machine: they share this checkout's cache and store.

    Their clones lie where DVC has its own throw-away checkouts: see `paths.main_root`.
    """
    return Job(
        commit=commit,
        repository=str(paths.ROOT),
        folder=str(paths.ROOT / ".dvc" / "tmp" / "exps" / "sweep"),
        environment={},
        cache=output("dvc", "cache", "dir"),
        push=False,
    )


def cluster_job(commit: str, repository: str | None) -> Job:
    """Return the job for workers of a cluster: they share a Git repository and two servers.

    Args:
        commit: that they run.
        repository: address of the Git repository; None: that of `origin`.

    Raises:
        UserError: the repository, the MLflow server or the place for DVC's data is not set.
    """
    repository = repository or output("git", "remote", "get-url", "origin")
    if not repository:
        raise UserError(
            "the workers clone from and push to a Git repository that all of them reach:"
            " give it by --repo"
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or uri.startswith("sqlite"):
        raise UserError(
            "the workers of a cluster need an MLflow server: start one that all of them reach,"
            f" and set MLFLOW_TRACKING_URI to its address, http://...; it is {uri or 'not set'} now"
        )
    remote = output("dvc", "config", "--project", "core.remote")
    if not remote and not output("dvc", "config", "--project", "cache.dir"):
        raise UserError(
            "the workers share no data: commit a DVC remote, dvc remote add --default NAME ADDRESS"
        )
    return Job(
        commit=commit,
        repository=repository,
        folder="clones",
        environment={key: os.environ[key] for key in SENT if key in os.environ},
        cache=None,
        push=bool(remote),
    )


def output(*command: str) -> str:
    """Return what a command prints in this checkout; nothing if it fails."""
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def finished(job: Job, sweep: str, experiments: Mapping[str, dict[str, str]]) -> dict[str, str]:
    """Return the Git references, in this checkout, of the experiments that are finished.

    Args:
        job: what the workers share.
        sweep: its name.
        experiments: by name, the values by key.

    Raises:
        UserError: an experiment of that name has other values, or the repository of the workers
            cannot be reached.
    """
    if job.repository != str(paths.ROOT):  # workers of this machine push into this checkout
        fetch(job, sweep)
    found = {}
    for reference in output("git", "for-each-ref", "--format=%(refname)", job.experiments).split():
        name = reference.rpartition("/")[2]
        if name in experiments:
            check_values(name, reference, experiments[name])
            found[name] = reference
    return found


def fetch(job: Job, sweep: str) -> None:
    """Fetch the experiments of a sweep from the repository of the workers."""
    references = f"{job.experiments}/{sweep}-*"
    command = ["git", "fetch", "--quiet", job.repository, f"+{references}:{references}"]
    if subprocess.run(command, cwd=paths.ROOT).returncode:
        raise UserError(f"cannot fetch from {redact_address(job.repository)}")


def check_values(name: str, reference: str, values: Mapping[str, str]) -> None:
    """Raise UserError unless an experiment has been run with these values."""
    yaml = YAML(typ="safe")
    params = yaml.load(output("git", "show", f"{reference}:{paths.PARAMS}"))
    for key, value in values.items():
        section, _, parameter = key.partition(".")
        given = params[section][parameter]
        if given != yaml.load(value):
            raise UserError(
                f"{name} is there with {key}={given}, not {value}: give this sweep another name"
            )
