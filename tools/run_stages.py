"""Runs the stages from generate to report in one process, in a folder, and prints the MD5 of every file.

Usage: python tools/run_stages.py FOLDER [train_mlp.iterations=1000 ...]

For the checks of sameness: without DVC and MLflow, so that it runs under an emulator and
with any NumPy. A last line is the hash of a few of NumPy's own products, exponentials and sines:
where that line differs and the others do not, the machines differ and the pipeline does not.
"""

import hashlib
import json
import sys
from pathlib import Path

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from evaluate import evaluate  # noqa: E402
from generate import generate  # noqa: E402
from pipeline.params import Params, load_params  # noqa: E402
from plot import plot  # noqa: E402
from report import report  # noqa: E402
from spirals.models import MODELS  # noqa: E402
from train import train_model  # noqa: E402


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def run_stages(root, changes):
    """Runs everything but `track`.

    Args:
        root: folder that data/ and reports/ are written to.
        changes: a dict of parameters that are not as in params.yaml, by section.key.
    """
    content = msgspec.to_builtins(load_params(ROOT))
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    params = msgspec.convert(content, Params)
    generate(params, root)
    for name in MODELS:
        train_model(name, getattr(params, f"train_{name}"), root)
        evaluate(name, params, root)
        plot(name, params.plot, root)
    report(params, root)


def plain_numpy():
    """What the pipeline avoids, as bytes: a product of matrices, exponentials, sines."""
    x = np.linspace(-3.0, 3.0, 30_000).reshape(300, 100)
    return np.concatenate([x @ x[:100], np.exp(x), np.sin(x)]).tobytes()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_stages(
        folder,
        {key: json.loads(value) for key, value in (change.split("=") for change in sys.argv[2:])},
    )
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(md5(path.read_bytes()), path.relative_to(folder).as_posix())
    print(md5(plain_numpy()), "plain NumPy")
