"""Run the stages from generate to report in one process, and print the MD5 of every file.

Usage: python maintenance/run_stages.py FOLDER [train_mlp.iterations=1000 ...]

It is for the checks that the bytes are the same everywhere: without DVC and MLflow, so that it
runs under an emulator and with any NumPy. The last line is a hash of NumPy's own products,
exponentials and sines. Where that line differs and the others do not, the machines differ and the
pipeline does not.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from evaluate import evaluate
from generate import generate
from pictures.matplotlib_setup import isolate_matplotlib
from pipeline.params import Params, load_params
from pipeline.runtime import set_up_runtime
from plot import plot
from report import report
from spirals.models import MODELS
from train import train_model

ROOT = Path(__file__).resolve().parents[1]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def run_stages(root: Path, changes: Mapping[str, Any]) -> None:
    """Run all stages but `track`.

    Args:
        root: folder that data/ and reports/ are written to.
        changes: values of parameters that are not as in params.yaml, by section.key.
    """
    content = msgspec.to_builtins(load_params(ROOT))
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    params = msgspec.convert(content, Params)
    generate(params, root)
    for name in MODELS:
        train_model(name, params.train(name), root)
        evaluate(name, params, root)
        plot(name, params.plot, root)
    report(params, root)


def plain_numpy() -> bytes:
    """Return what the pipeline avoids: a product of matrices, exponentials, sines."""
    x = np.linspace(-3.0, 3.0, 30_000).reshape(300, 100)
    return np.concatenate([x @ x[:100], np.exp(x), np.sin(x)]).tobytes()


def main() -> None:
    set_up_runtime()
    isolate_matplotlib()
    folder = Path(sys.argv[1])
    changes = {}
    for change in sys.argv[2:]:
        key, value = change.split("=")
        changes[key] = json.loads(value)
    run_stages(folder, changes)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(md5(path.read_bytes()), path.relative_to(folder).as_posix())
    print(md5(plain_numpy()), "plain NumPy")


if __name__ == "__main__":
    main()
