"""Importing what is ours changes nothing of the process that does it."""

import ast
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import PARAMS, ROOT

from pipeline.served import ServedModel
from spirals.models import MODELS

SRC = ROOT / "src"

# What a caller may have set, as text, before and after the imports. What the caller has imported
# itself comes first: a library may do at its import what it likes.
COMPARE = """
import atexit, contextlib, decimal, gc, importlib, json, locale, logging
import os, random, signal, sys, warnings
before_ours, ours = json.loads(sys.argv[1])
for name in before_ours:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
import numpy as np


def state():
    found = {
        "NumPy's buffer": np.getbufsize(),
        "NumPy's errors": np.geterr(),
        "NumPy's printing": np.get_printoptions(),
        "NumPy's random numbers": np.random.get_state()[1].tolist(),
        "random numbers": random.getstate(),
        "environment": dict(os.environ),
        "current folder": os.getcwd(),
        "search path": sys.path,
        "warnings": warnings.filters,
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "calls at the end": atexit._ncallbacks(),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "decimal context": decimal.getcontext(),
        "locale": locale.setlocale(locale.LC_ALL),
        "log": (logging.root.level, logging.root.handlers, logging.root.filters),
        "recursion limit": sys.getrecursionlimit(),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook),
        "output": (sys.stdout.line_buffering, sys.stdout.encoding),
        "umask": [os.umask(0o22), os.umask(0o22)],
    }
    if "matplotlib" in sys.modules:
        from matplotlib import artist, font_manager, rcParams

        found["settings of Matplotlib"] = dict(rcParams)
        found["fonts of Matplotlib"] = [font.fname for font in font_manager.fontManager.ttflist]
        found["functions of Matplotlib"] = (artist.kwdoc, vars(artist.Artist))
    return {name: repr(value) for name, value in found.items()}


before = state()
sys.path.insert(0, "src")
for name in ours:
    importlib.import_module(name)
sys.path.remove("src")
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def modules(package):
    """Names of the modules of a package; what is run, not imported, is left out."""
    names = []
    for path in sorted((SRC / package).glob("*.py")):
        if path.stem not in ("__init__", "__main__"):
            names.append(f"{package}.{path.stem}")
    return names


def libraries(package):
    """Names of the modules that a package imports, wherever in it, and that are not ours."""
    ours = {path.name for path in SRC.iterdir()}
    names = set()
    for path in (SRC / package).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                # What is imported from a module may be a module itself.
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return sorted(name for name in names if name.partition(".")[0] not in ours)


UNDER_ALL = ("portable", "spirals", "pipeline")  # what the other packages import of ours


def changed(*packages):
    """Return what is not as before when all modules of packages were imported."""
    imported_before = []
    for package in {*packages, *UNDER_ALL}:
        imported_before += libraries(package)
    names = []
    for package in packages:
        names += modules(package)
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, json.dumps([imported_before, names])],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_importing_the_subject_changes_nothing():
    pytest.importorskip("numba")
    assert changed("portable", "spirals", "pipeline") == []


@pytest.mark.slow
def test_importing_the_pictures_changes_nothing():
    assert changed("pictures") == []


@pytest.mark.slow
def test_importing_the_bridge_changes_nothing():
    assert changed("bridge") == []


LOAD = """
import mlflow
import numpy as np
before = np.getbufsize(), np.geterr()
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/spirals@champion")
assert len(model.predict(np.zeros((4, 2)))) == 4
assert (np.getbufsize(), np.geterr()) == before
print("as before")
"""


@pytest.mark.slow
def test_loading_the_champion_leaves_the_settings_of_numpy_alone(ran):
    assert "as before" in ran.run("python", "-c", LOAD).stdout


@pytest.mark.parametrize("name", MODELS)
def test_a_served_model_predicts_no_classes_of_no_points(name):
    model = MODELS[name].initialize(2, 3, PARAMS.train(name))
    assert ServedModel(model).predict(np.empty((0, 2))).shape == (0,)
