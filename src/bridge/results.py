"""A result: what one model's run in MLflow shows, read from the files of the pipeline."""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline import paths
from pipeline.files import read_metrics

INPUTS = ["src", "params.yaml", "dvc.yaml"]  # a change in them makes a checkout dirty


@dataclass(frozen=True)
class Result:
    """One model's result, and where its pictures lie.

    The digest is that of the result alone: the same result is the same run, and new
    pictures of it (another resolution, say) belong to the run that is there.
    """

    model: str
    params: dict[str, object]
    metrics: dict[str, float]
    hashes: dict[str, str]  # MD5 of files, as in dvc.lock
    weights: Path
    curve: Path
    pictures: list[Path]
    frames: list[Path]  # named after the per cent of the training
    digest: str
    pictures_digest: str


def read_results(params, root):
    """Results of all models; raises UserError if a file is missing or unreadable."""
    sections = msgspec.to_builtins(params)
    data = {f"data.{key}": value for key, value in sections["generate"].items()}
    test = {f"test.{key}": value for key, value in sections["evaluate"].items()}
    results = []
    for name, metrics in read_metrics(root / paths.METRICS).items():
        content = {
            "model": name,
            "params": {"model": name, **sections[f"train_{name}"], **data, **test},
            "metrics": metrics,
            "hashes": {str(path): md5([root / path]) for path in (paths.DATA, paths.weights(name), paths.curve(name))},
        }
        pictures = [root / paths.boundary(name), root / paths.loss(name)]
        frames = sorted((root / paths.frame(name, 0)).parent.glob("*.png"))
        results.append(
            Result(
                **content,
                weights=root / paths.weights(name),
                curve=root / paths.curve(name),
                pictures=pictures,
                frames=frames,
                digest=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
                pictures_digest=md5([*pictures, *frames]),
            )
        )
    return results


def md5(files):
    """MD5 of the files' bytes, one after another; of a single file, the hash that DVC gives it."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def lineage():
    """Where a result comes from: git commit, dirty or not, name of the DVC experiment.

    A commit is missing where there is no git; a name is missing outside `dvc exp run`.
    """

    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", *INPUTS)
    except FileNotFoundError:
        commit, changed = None, None
    return {
        "commit": os.environ.get("DVC_EXP_BASELINE_REV", commit),
        "dirty": bool(changed),
        "experiment": os.environ.get("DVC_EXP_NAME"),
    }
