"""Write what a run says of itself in MLflow: its name, and its description in Markdown."""

import re
import shlex
from typing import Any

from bridge.lineage import Lineage
from bridge.results import Result

NAMED_CHANGES = 4  # parameters that a run's name says; of more, how many there are
SHORT_COMMIT = 7  # characters
SPECIAL = re.compile(r"([\\`*\[\]<>|~&]|\b_|_\b)")  # what Markdown could take for a mark


def describe(
    result: Result, lineage: Lineage, metrics: dict[str, float], experiment_names: list[str]
) -> str:
    """Return the description of a run.

    It has its numbers beside those of the commit, its data, and the commands that bring it back.

    Args:
        result: what the run shows.
        lineage: where it comes from.
        metrics: of the result.
        experiment_names: of the DVC experiments that had this result.
    """
    run = f" {escape(result.run)}" if result.run else ""
    lines = [f"Result{run} of the DVC pipeline in {escape(lineage.source)}"]
    lines += _table(result, lineage, metrics)
    if result.data:
        files = [f"{escape(path)} ({md5})" for path, md5 in result.data.items()]
        lines += ["", f"Data: {', '.join(files)}"]
    way_back = _way_back(result, lineage, experiment_names)
    if way_back:
        lines += ["", f"To get it back: {way_back}"]
    return "\n".join(lines)


def _table(result: Result, lineage: Lineage, metrics: dict[str, float]) -> list[str]:
    """Return the metrics and the changed parameters, beside those of the commit, as a table."""
    committed = lineage.committed_metrics(result)
    rows: dict[str, tuple[Any, Any]] = {}
    for name, value in metrics.items():
        rows[name] = value, committed.get(name, "")
    rows |= lineage.changed_params(result)
    if not rows:
        return []
    has_committed = any(before != "" for _, before in rows.values())
    commit = f"commit {_short_commit(lineage)}" if has_committed else ""
    lines = ["", f"| | here | {commit} |", "|---|---:|---:|"]
    for name, (value, before) in rows.items():
        cells = map(escape, (name, _shorten(value), _shorten(before)))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _way_back(result: Result, lineage: Lineage, experiment_names: list[str]) -> str:
    """Return the commands that bring a result back; "" where there is none."""
    if experiment_names and not lineage.is_committed(result):
        apply = code(f"dvc exp apply {_argument(experiment_names[0])}")
        return f"{apply}, then `dvc checkout`."
    if not lineage.commit:
        return ""
    checkout = code(f"git checkout {_short_commit(lineage)}")
    changes = ""
    if not lineage.is_of_commit(result):
        changes = "with the uncommitted changes of that day, "
    return f"{checkout}, {changes}then `dvc checkout` or `dvc repro`."


def run_name(result: Result, lineage: Lineage) -> str:
    """Return the name of a run; what differs from the commit is first: a list cuts the end off."""
    parts = []
    for name, (value, _) in lineage.changed_params(result).items():
        parts.append(f"{name}={_shorten(value)}")
    if len(parts) > NAMED_CHANGES:
        parts[NAMED_CHANGES:] = [f"and {len(parts) - NAMED_CHANGES} more"]
    if result.run:
        parts.append(result.run)
    return " ".join([*parts, _origin(result, lineage)])


def _origin(result: Result, lineage: Lineage) -> str:
    """Return the DVC experiment, else the commit, with some of the digest where that is not all."""
    if lineage.experiment:
        return lineage.experiment
    unique = result.digest[:4]
    if not lineage.commit:
        return f"no-git-{unique}"
    commit = _short_commit(lineage)
    return commit if lineage.dirty == "false" else f"{commit}-dirty-{unique}"


def escape(text: object) -> str:
    """Return text as Markdown shows it, in one line: none of it is a mark, nor ends a cell."""
    return SPECIAL.sub(r"\\\1", _one_line(str(text)))


def code(command: str) -> str:
    """Return a command as code in Markdown, whatever it holds."""
    command = _one_line(command)
    longest = max(map(len, re.findall("`+", command)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{command}{space}{fence}"


def _argument(name: str) -> str:
    """Return a name as an argument in a shell, where it is nothing but a name."""
    quoted = shlex.quote(name)
    return f"-- {quoted}" if name.startswith("-") else quoted


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _short_commit(lineage: Lineage) -> str:
    return (lineage.commit or "")[:SHORT_COMMIT]


def _shorten(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
