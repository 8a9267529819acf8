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

# Every kernel in NumPy's wheels that differs from the others; not every CPU can run each.
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
SHORT = {**for_every_model(units=40, iterations=300), "plot.grid": 60, "plot.dpi": 60}
PRODUCT = "import numpy; x = numpy.ones((99, 99)); x @ x"
SIMD = """
from numpy._core import _multiarray_umath as core
print(*(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]))
"""


def python(*arguments, **settings):
    """Run Python with just these of the settings that NumPy and OpenBLAS heed."""
    theirs = ("OPENBLAS_", "OMP_", "NPY_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(theirs)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**kept, **settings},
        capture_output=True,
        text=True,
        timeout=1200,
    )


def without_simd():
    """Return the setting that switches off every instruction set that NumPy chooses at run time."""
    return {"NPY_DISABLE_CPU_FEATURES": python("-c", SIMD).stdout.strip()}


def run_stages(folder, *changes, **settings):
    """Run everything up to the report.

    Returns:
        The hashes by file, and the one of plain NumPy's products.
    """
    done = python(ROOT / "maintenance/run_stages.py", folder, *changes, **settings)
    assert done.returncode == 0, done.stderr
    hashes = {}
    for line in done.stdout.splitlines():
        md5, name = line.split(" ", 1)
        hashes[name] = md5
    return hashes, hashes.pop("plain NumPy")


def possible_settings():
    """Return settings of NumPy: the usual one, without SIMD, and each kernel that this CPU runs."""
    settings = [{}, {"OPENBLAS_NUM_THREADS": "1", **without_simd()}]
    for position, kernel in enumerate(KERNELS.get(platform.machine(), [])):
        setting = {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(1 + position % 2)}
        if python("-c", PRODUCT, **setting).returncode == 0:
            settings.append(setting)
    return settings


@pytest.mark.exhaustive
def test_kernels_threads_and_simd_change_nothing(tmp_path):
    changes = [f"{key}={value}" for key, value in SHORT.items()]
    written = []
    controls = set()
    for position, setting in enumerate(possible_settings()):
        hashes, control = run_stages(tmp_path / str(position), *changes, **setting)
        written.append((setting, hashes))
        controls.add(control)

    _, usual = written[0]
    expected = {"data/spirals.csv", "reports/metrics.json", "reports/figures/losses.png"}
    for name in MODELS:
        expected |= {str(paths.weights(name)), str(paths.learning(name))}
    assert expected <= {*usual}
    assert [setting for setting, hashes in written if hashes != usual] == []
    if platform.machine() == "x86_64":
        # The settings do reach NumPy: its own products and exponentials differ.
        assert len(controls) >= 3


def hash_of_folder(folder, hashes):
    """Return DVC's hash of a folder: that of the JSON list of its files and their hashes."""
    listing = []
    for name, md5 in sorted(hashes.items()):
        if name.startswith(f"{folder}/"):
            listing.append({"md5": md5, "relpath": name.removeprefix(f"{folder}/")})
    content = json.dumps(listing).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def locked_outputs():
    """Return the outputs of all stages but `track` in dvc.lock, and their hashes."""
    stages = YAML(typ="safe").load(ROOT / "dvc.lock")["stages"]
    outputs = {}
    for name, stage in stages.items():
        for output in stage["outs"] if name != "track" else []:
            outputs[output["path"]] = output["md5"]
    return outputs


def test_full_run_gives_the_committed_hashes(tmp_path):
    """In another setting than that of `dvc repro`, and by NumPy alone."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/numba.py").write_text("raise ImportError")
    setting = {"OPENBLAS_CORETYPE": "Nehalem"} if platform.machine() == "x86_64" else {}
    setting |= {"PYTHONPATH": str(tmp_path / "without"), "OPENBLAS_NUM_THREADS": "1"}

    hashes, _ = run_stages(tmp_path / "made", **setting, **without_simd())

    committed = locked_outputs()
    assert len(committed) >= 15
    ours = {}
    for path, md5 in committed.items():
        is_folder = md5.endswith(".dir")
        ours[path] = hash_of_folder(path, hashes) if is_folder else hashes.get(path)
    assert ours == committed
