"""The same bytes, whatever BLAS kernel, number of threads or SIMD instructions NumPy uses.

Other machines cannot be had in a test: for these see docs/portability.md.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import for_every_model
from ruamel.yaml import YAML

from pipeline import paths
from spirals.models import MODELS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]

# Every kernel in NumPy's wheels that differs from the others; a CPU without its instructions cannot run it.
KERNELS = {
    "x86_64": [
        "Prescott",
        "Nehalem",
        "Sandybridge",
        "Haswell",
        "SkylakeX",
        "Cooperlake",
        "SapphireRapids",
    ],
    "aarch64": ["ARMV8", "CORTEXA53", "NEOVERSEN1", "NEOVERSEV1", "NEOVERSEN2"],
}
SHORTER = {**for_every_model(units=40, iterations=1000), "plot.grid": 60, "plot.dpi": 60}
SHORTER = [f"{key}={value}" for key, value in SHORTER.items()]
PRODUCT = "import numpy; x = numpy.ones((99, 99)); x @ x"
SIMD = """
from numpy._core import _multiarray_umath as core
print(*(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]))
"""


def python(*arguments, **settings):
    """Runs Python with just these of the settings that NumPy and OpenBLAS heed."""
    ours = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OPENBLAS_", "OMP_", "NPY_"))
    }
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**ours, **settings},
        capture_output=True,
        text=True,
        timeout=1200,
    )


def without_simd():
    """The setting that switches off every instruction set that NumPy chooses at run time on this CPU."""
    return {"NPY_DISABLE_CPU_FEATURES": python("-c", SIMD).stdout.strip()}


def run_stages(folder, *changes, **settings):
    """Runs everything up to the report; returns the hashes by file, and the one of plain NumPy."""
    done = python(ROOT / "maintenance/run_stages.py", folder, *changes, **settings)
    assert done.returncode == 0, done.stderr
    hashes = {name: md5 for md5, name in (line.split(" ", 1) for line in done.stdout.splitlines())}
    return hashes, hashes.pop("plain NumPy")


def test_kernels_threads_and_simd_change_nothing(tmp_path):
    settings = [{}, {"OPENBLAS_NUM_THREADS": "1", **without_simd()}]
    for number, kernel in enumerate(KERNELS.get(platform.machine(), [])):
        setting = {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(1 + number % 2)}
        if python("-c", PRODUCT, **setting).returncode == 0:
            settings.append(setting)
    plain = set()
    for number, setting in enumerate(settings):
        hashes, control = run_stages(tmp_path / str(number), *SHORTER, **setting)
        made = {"data/spirals.csv", "reports/metrics.json", "reports/figures/losses.png"}
        made |= {
            str(path) for name in MODELS for path in (paths.weights(name), paths.learning(name))
        }
        assert made <= set(hashes)
        if number == 0:
            first = hashes
        assert {name for name in first if hashes.get(name) != first[name]} == set(), setting
        plain.add(control)
    if platform.machine() == "x86_64":
        assert (
            len(plain) >= 3
        )  # the settings do reach NumPy: its own products and exponentials differ


def test_full_run_gives_the_committed_hashes(tmp_path):
    """In another setting than the one that `dvc repro` ran in, and by NumPy alone where that had the net compiled."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/numba.py").write_text("raise ImportError")
    setting = {"OPENBLAS_CORETYPE": "Nehalem"} if platform.machine() == "x86_64" else {}
    setting["PYTHONPATH"] = str(tmp_path / "without")
    hashes, _ = run_stages(tmp_path / "made", OPENBLAS_NUM_THREADS="1", **setting, **without_simd())
    stages = YAML(typ="safe").load(ROOT / "dvc.lock")["stages"]
    outputs = {
        out["path"]: out["md5"]
        for name in stages
        if name != "track"
        for out in stages[name]["outs"]
    }
    assert len(outputs) >= 15
    ours = {}
    for path, committed in outputs.items():
        if committed.endswith(".dir"):
            # DVC's hash of a folder: that of the JSON list of its files and their hashes
            files = {
                name.removeprefix(f"{path}/"): md5
                for name, md5 in hashes.items()
                if name.startswith(f"{path}/")
            }
            listing = json.dumps(
                [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
            )
            ours[path] = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
        else:
            ours[path] = hashes.get(path)
    assert ours == outputs
