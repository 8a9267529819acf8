"""The compiled net gives the bytes of the NumPy form, and is chosen where it pays."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

from pipeline.params import load_params
from spirals.data import make_spirals
from spirals.models import MLP
from spirals.training import gradient_descent
from train import fastest

pytestmark = pytest.mark.slow

# Points per class, classes, hidden units: sums of few terms, of one part, and of many parts with a rest.
SHAPES = [(1, 2, 1), (4, 2, 8), (5, 2, 9), (100, 3, 100), (50, 12, 131), (333, 5, 128), (7, 3, 1111)]

PATH = os.pathsep.join(str(ROOT / name) for name in ("tests", "src"))


def trained(model, shape, iterations=15):
    """The bytes of the scores of every iteration, and of the weights at the end."""
    points, classes, hidden = shape
    X, y = make_spirals(points, classes, 0.2, 0)
    params = SimpleNamespace(seed=1, skip_draws=0, weight_scale=0.5, hidden_units=hidden)
    params.iterations, params.learning_rate, params.l2 = iterations, 1.0, 1e-3
    weights = MLP.initialize(2, classes, params)
    scores = [scores.tobytes() for _, scores in gradient_descent(model, weights, X, y, params)]
    return scores, {name: value.tobytes() for name, value in weights.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_same_bytes(shape):
    from spirals.compiled import CompiledMLP

    assert trained(CompiledMLP, shape) == trained(MLP, shape)


@pytest.mark.parametrize("processor", [{"NUMBA_CPU_NAME": "generic"}, {"NUMBA_OPT": "0"}])
def test_same_bytes_however_it_is_compiled(processor, tmp_path):
    """For the least of processors, without vector instructions beyond those that all have; and not optimized."""
    code = "import test_compiled as t; from spirals.compiled import CompiledMLP as c; "
    code += "assert all(t.trained(c, shape) == t.trained(t.MLP, shape) for shape in t.SHAPES[2:5])"
    environment = {**os.environ, **processor, "PYTHONPATH": PATH, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.nbc"))


def test_an_exponential_of_any_number_up_to_zero():
    from spirals.arithmetic import exp
    from spirals.compiled import exp as compiled

    x = -np.concatenate([np.geomspace(1e-300, 1e300, 2000), np.linspace(0, 760, 5000), [0.0, np.inf]])
    assert np.array([compiled(value) for value in x]).tobytes() == exp(x).tobytes()


def test_what_is_compiled_is_shared_by_checkouts_of_the_same_content(tmp_path, monkeypatch):
    from spirals import arithmetic, compiled

    folder = compiled.ByContent.get_suitable_cache_subpath
    source = ROOT / "src/spirals/compiled.py"
    copy, other = tmp_path / "compiled.py", tmp_path / "arithmetic.py"
    copy.write_bytes(source.read_bytes())
    assert folder(copy) == folder(source)
    other.write_text(Path(arithmetic.__file__).read_text() + "# changed")
    monkeypatch.setattr(arithmetic, "__file__", str(other))
    changed = folder(copy)
    monkeypatch.undo()
    assert changed != folder(copy)


def chosen(points):
    """The form of the net that the default parameters would be trained with on so many points in each class."""
    params = load_params(ROOT).train_mlp
    return fastest("mlp", params, *make_spirals(points, 3, 0.2, 0), MLP.initialize(2, 3, params)).__name__


def test_it_is_chosen_for_long_trainings_where_numba_is(monkeypatch):
    assert chosen(100) == "CompiledMLP"
    assert chosen(10) == "MLP"
    monkeypatch.delitem(sys.modules, "spirals.compiled")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert chosen(100) == "MLP"


def test_it_is_not_chosen_where_numba_cannot_keep_or_read_what_it_compiled(tmp_path):
    def chosen_with(cache):
        environment = {**os.environ, "PYTHONPATH": PATH, "XDG_CACHE_HOME": str(cache)}
        code = "import test_compiled as t; print(t.chosen(100))"
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
        )

    assert chosen_with(tmp_path).stdout == "CompiledMLP\n"
    for index in tmp_path.rglob("*.nbi"):
        index.write_bytes(b"")
    (tmp_path / "file").touch()
    for cache in (tmp_path, tmp_path / "file"):
        done = chosen_with(cache)
        assert (done.stdout, done.stderr, done.returncode) == ("MLP\n", "", 0)
