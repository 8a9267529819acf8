"""Read the experiments that `dvc exp show` lists, whatever their parameters and metrics."""

import json
import math
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from shlex import quote
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pictures.scales import Value
from pipeline import paths

COMMIT = "commit"  # an extra parameter: the commit that an experiment belongs to
METRICS = ("test_accuracy", "train_loss")  # without these a result cannot be shown


@dataclass(frozen=True)
class Experiment:
    """A commit or an experiment, with its results.

    Attributes:
        name: as `dvc exp show` prints it.
        rev: its commit in Git.
        params: by dotted name.
        metrics: finite numbers by name, of every model that has the METRICS.
        committed: whether it is the last commit.
        command: restores it, to be pasted into a shell; empty for the last commit.
    """

    name: str
    rev: str
    params: dict[str, Value]
    metrics: dict[str, dict[str, float]]
    committed: bool = False
    command: str = ""


@dataclass(frozen=True)
class Entry:
    """An entry of the list of `dvc exp show`, and the commit that it belongs to."""

    name: str
    content: dict[str, Any]
    commit: str
    is_commit: bool
    is_last_commit: bool


def collect(
    listed: list[dict[str, Any]],
    locked_params: Callable[[str], dict[str, Value]] = lambda rev: {},
) -> tuple[list[Experiment], list[str]]:
    """Return the commits and their experiments, and the names of those that are left out.

    Experiments that failed, have not ended, or have no metrics are left out.

    Args:
        listed: what `dvc exp show --json` prints.
        locked_params: returns the parameters that a commit's results were made with.
    """
    entries = list(_entries(listed))
    names = Counter(entry.name for entry in entries)
    experiments = []
    left_out = []
    for entry in entries:
        data = entry.content.get("data") or {}
        params = flatten_params(data.get("params"))
        metrics = read_metrics(data.get("metrics"))
        # Beside an error stand the metrics of the commit that it was started from.
        if entry.content.get("error") or not params or not metrics:
            left_out.append(entry.name)
            continue
        rev = entry.content["rev"]
        params |= locked_params(rev)
        params[COMMIT] = entry.commit
        unique = entry.name if names[entry.name] == 1 else rev[:7]
        experiments.append(
            Experiment(
                name=entry.name,
                rev=rev,
                params=params,
                metrics=metrics,
                committed=entry.is_last_commit,
                command=_command(entry, unique),
            )
        )
    return experiments, left_out


def _entries(listed: list[dict[str, Any]]) -> Iterator[Entry]:
    """Yield the commits, each with its experiments after it; not the workspace."""
    commits = [commit for commit in listed if commit["rev"] != "workspace"]
    for commit in commits:
        of_commit = commit.get("name") or commit["rev"][:7]
        yield Entry(of_commit, commit, of_commit, True, commit is commits[0])
        for experiment in commit.get("experiments") or []:
            revs = experiment.get("revs") or []
            if revs:
                name = experiment.get("name") or revs[0]["rev"][:7]
                yield Entry(name, revs[0], of_commit, False, False)


def _command(entry: Entry, name: str) -> str:
    if entry.is_last_commit:
        return ""
    if entry.is_commit:
        return f"git checkout {quote(name)}"
    return f"dvc exp apply {quote(name)}"


def flatten_params(files: Any) -> dict[str, Value]:
    """Return the parameters of params.yaml by dotted name, from what DVC lists of all files."""
    content = _content(files, str(paths.PARAMS))
    return {name: simplify(value) for name, value in _flatten(content, "")}


def _content(files: Any, file: str) -> Any:
    """Return the content of a file as DVC lists it; None if DVC could not read it."""
    listed = files.get(file) if isinstance(files, dict) else None
    return listed.get("data") if isinstance(listed, dict) else None


def _flatten(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def simplify(value: Any) -> Value:
    """Return a parameter as a finite number or a text, so that any two can be compared.

    NaN is not equal to itself, True is equal to 1, and a list has no hash.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value):
        return value
    return json.dumps(value, default=str)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def read_metrics(files: Any) -> dict[str, dict[str, float]]:
    """Return the metrics of the models that have them, from what DVC lists of all files."""
    found: dict[str, dict[str, float]] = {}
    for file in files if isinstance(files, dict) else ():
        content = _content(files, file)
        if not isinstance(content, dict):
            continue
        for model, values in content.items():
            metrics = _numbers(values)
            if all(name in metrics for name in METRICS):
                found[str(model)] = metrics
    return found


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    numbers = {}
    for name, value in values.items():
        simple = simplify(value)
        if isinstance(simple, int | float):
            numbers[str(name)] = float(simple)
    return numbers


def read_locked_params(rev: str) -> dict[str, Value]:
    """Return the parameters that the results of a commit were made with, as its dvc.lock has them.

    Its params.yaml may be newer.
    """
    command = ["git", "show", f"{rev}:{paths.LOCK}"]
    shown = subprocess.run(command, cwd=paths.ROOT, capture_output=True)
    if shown.returncode:
        return {}
    try:
        stages = YAML(typ="safe").load(shown.stdout.decode())["stages"]
        used = [stage.get("params", {}).get(str(paths.PARAMS), {}) for stage in stages.values()]
    except (YAMLError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return {}
    params: dict[str, Value] = {}
    for values in used:
        params |= {name: simplify(value) for name, value in _flatten(values, "")}
    return params
