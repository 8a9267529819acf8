"""Where a result comes from: commit, dirty or not, DVC experiment, user; and how it differs from what is committed."""

import getpass
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bridge.errors import UserError
from bridge.files import digest, main_checkout, read
from bridge.results import named
from bridge.settings import FILE
from bridge.stages import meeting, params_of
from bridge.store import redact_address


@dataclass(frozen=True)
class Lineage:
    """Of what is in the checkout now."""

    root: Path
    commit: str | None  # of Git; None where Git does not say it
    dirty: str  # true, false, or unknown where Git does not answer: not knowing is not the same as clean
    refusal: str  # what Git says instead of an answer
    experiment: str | None  # name of the DVC experiment; None outside of `dvc exp run`
    source: str
    user: str
    committed: dict = field(
        default_factory=dict
    )  # the stages that have run, as the commit's dvc.lock has them

    @property
    def _known(self):
        """Hashes, by path, that the commit's dvc.lock has."""
        return {
            path: hash
            for of in self.committed.values()
            for path, hash in {**of.deps, **of.outs}.items()
        }

    def changed(self, result):
        """Parameters of the result that are not as in the commit: by name, (value, committed value)."""
        found = params_of(self.committed[name] for name in result.stages if name in self.committed)
        before = {name: found[key] for key, name in named(found, result.settings["names"]).items()}
        return {
            key: (v, before[key])
            for key, v in result.params.items()
            if key in before and v != before[key]
        }

    def has(self, result):
        """Whether the commit's dvc.lock has this very result."""
        return {**result.data, **result.hashes}.items() <= self._known.items() and not self.changed(
            result
        )

    def committed_metrics(self, result):
        """Metrics of the commit that the result has too, by name; empty where they are not in Git."""

        def committed(path):
            text = _git_show(self.root, self.commit, path)
            return read(Path(path), text) if text else {}

        return result.numbers(committed)[0]

    def committed_data(self, result):
        """As `Result.compared_on`, of the commit; None where dvc.lock was not committed."""
        known, on = self._known, result.settings["champion"]["on"]
        return digest([known[path] for path in on]) if known.keys() >= {*on} else None


def _git(root, *arguments):
    """What Git prints, None if it fails; and what it complains of."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace"
        )
    except FileNotFoundError:
        return None, ""
    return (done.stdout.strip() if done.returncode == 0 else None), done.stderr.partition("\n")[0]


def _git_show(root, commit, file):
    """What a file holds in the commit; None if it is not there."""
    return commit and _git(root, "show", f"{commit}:./{file}")[0]


def load_lineage(pipeline, root):
    """See `Lineage`; the files that may be dirty are those that the stages start from."""
    used = {path for stage in pipeline.stages.values() for path in [*stage.params, *stage.deps]}
    inputs = used - {
        *meeting(used, [out for of in pipeline.declared.values() for out in of["outs"]])
    }
    inputs |= {f"{path}.dvc" for path in inputs} | {
        *pipeline.files,
        FILE,
    }  # Git knows what `dvc add` keeps by that
    commit, refusal = _git(root, "rev-parse", "HEAD")
    changed, _ = _git(root, "status", "--porcelain", "--", *sorted(inputs))
    origin, _ = _git(root, "config", "--get", "remote.origin.url")
    commit = os.environ.get("DVC_EXP_BASELINE_REV") or commit
    committed, user = {}, ""
    with suppress(UserError):
        committed = pipeline.locked(lambda file: _git_show(root, commit, file))
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    dirty = "unknown" if changed is None else str(bool(changed)).lower()
    refusal = "" if "not a git repository" in refusal else refusal
    source = redact_address(origin) if origin and ":" in origin else main_checkout(root).name
    return Lineage(
        root, commit, dirty, refusal, os.environ.get("DVC_EXP_NAME"), source, user, committed
    )


def described(result, lineage, metrics, names):
    """What a run says of itself, in Markdown; `names` are those of the DVC experiments that had its result."""
    before, changed = lineage.committed_metrics(result), lineage.changed(result)
    commit = lineage.commit[:7] if lineage.commit else None
    lines = [
        f"Result{f' {result.run}' if result.run else ''} of the DVC pipeline in {lineage.source}",
        "",
    ]
    lines += [f"| | here | {f'commit {commit}' if before else ''} |", "|---|---:|---:|"]
    rows = {name: (value, before.get(name, "")) for name, value in metrics.items()} | changed
    lines += [
        f"| {name} | {_short(value)} | {_short(other)} |" for name, (value, other) in rows.items()
    ]
    if result.data:
        lines += ["", f"Data: {', '.join(f'{path} ({md5})' for path, md5 in result.data.items())}"]
    if names and not lineage.has(result):
        lines += ["", f"To get it back: `dvc exp apply {names[0]}`, then `dvc checkout`."]
    elif commit:
        dirty = lineage.dirty != "false" and not lineage.has(result)
        with_changes = "with the uncommitted changes of that day, " if dirty else ""
        lines += [
            "",
            f"To get it back: `git checkout {commit}`, {with_changes}then `dvc checkout` or `dvc repro`.",
        ]
    return "\n".join(lines)


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def run_name(result, lineage):
    """What differs from the commit comes first: a list cuts the end off."""
    changed = [f"{name}={_short(value)}" for name, (value, _) in lineage.changed(result).items()]
    if len(changed) > 4:
        changed[4:] = [f"and {len(changed) - 4} more"]
    if lineage.experiment:
        origin = lineage.experiment
    elif lineage.commit:
        origin = lineage.commit[:7] + (
            "" if lineage.dirty == "false" else f"-dirty-{result.digest[:4]}"
        )
    else:
        origin = f"no-git-{result.digest[:4]}"
    return " ".join([*changed, *([result.run] if result.run else []), origin])
