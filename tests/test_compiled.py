"""The compiled net gives the bytes of the NumPy form, and is chosen where it pays."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from pipeline.params import load_params
from spirals.models import MLP, MODELS, Linear
from spirals.training import Diverged, _tame_for, gradient_descent, train
from train import fastest

pytestmark = pytest.mark.slow
ROOT = (
    Path(__file__).resolve().parents[1]
)  # not conftest's, which drops the settings that are tried here

# Points per class, classes, hidden units: sums of few terms, of one part, and of many parts with a rest.
SHAPES = [
    (1, 2, 1),
    (4, 2, 8),
    (5, 2, 9),
    (100, 3, 100),
    (50, 12, 131),
    (333, 5, 128),
    (7, 3, 1111),
]
SHAPES += [
    (40, 4, 10),
    (30, 8, 17),
    (30, 9, 16),
    (20, 30, 40),
]  # scores in fours, one after another, in eight parts

PATH = os.pathsep.join(str(ROOT / name) for name in ("tests", "src"))


def scattered(points, classes):
    """Random points of each class, anywhere: X and y."""
    X = np.random.default_rng(0).uniform(-1, 1, size=(points * classes, 2))
    return X, np.repeat(np.arange(classes), points)


def trained(model, shape, iterations=15):
    """The bytes of the scores of every iteration, and of the weights at the end."""
    points, classes, hidden = shape
    X, y = scattered(points, classes)
    params = SimpleNamespace(seed=1, skip_draws=0, weight_scale=0.5, hidden_units=hidden)
    params.iterations, params.learning_rate, params.l2 = iterations, 1.0, 1e-3
    weights = MLP.initialize(2, classes, params)
    scores = [scores.tobytes() for _, scores in gradient_descent(model, weights, X, y, params)]
    return scores, {name: value.tobytes() for name, value in weights.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_same_bytes(shape):
    from portable.compiled import CompiledMLP

    assert trained(CompiledMLP, shape) == trained(MLP, shape)


def run(code, folder, **settings):
    """Python with an empty home for what Numba keeps, and with settings of Numba's."""
    environment = {
        **os.environ,
        "PYTHONPATH": PATH,
        "XDG_CACHE_HOME": str(folder / "cache"),
        **settings,
    }
    command = [sys.executable, "-c", "import test_compiled as t; " + code]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.mark.parametrize(
    "processor", ["CPU_NAME = 'generic'; c.CPU_FEATURES = ''", "OPT = c._process_opt_level('0')"]
)
def test_same_bytes_however_it_is_compiled(processor, tmp_path):
    """For the least of processors, without vector instructions beyond those that all have; and not optimized."""
    code = f"import numba.core.config as c; c.{processor}; from portable.compiled import CompiledMLP as m; "
    code += "assert all(t.trained(m, shape) == t.trained(t.MLP, shape) for shape in t.SHAPES[2:6]); print('same')"
    done = run(code, tmp_path)
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr
    assert list(tmp_path.rglob("*.nbc"))


CHOICE = "print(t.chosen(100), t.digest(100))"


def test_settings_of_numba_have_no_effect(tmp_path):
    """All that it has, at once: as switches, and as values that they cannot have (of which some end the process)."""
    import numba

    usual = run(CHOICE, tmp_path)
    assert usual.stdout.startswith("CompiledMLP ") and usual.stderr == ""
    names = [f"NUMBA_{name}" for name in vars(numba.config) if name.isupper()]
    names += [
        "NUMBA_DUMP_ANNOTATION",
        "NUMBA_DUMP_HTML",
        "NUMBA_DEBUGINFO",
        "NUMBA_CAPTURED_ERRORS",
    ]
    names = [name for name in names if name not in ("NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR")]
    assert {
        "NUMBA_OPT",
        "NUMBA_BOUNDSCHECK",
        "NUMBA_CPU_FEATURES",
        "NUMBA_DEBUG_JIT",
        "NUMBA_DEBUG_NRT",
    } < {*names}
    for value in ("1", "bad"):
        done = run(CHOICE, tmp_path, **dict.fromkeys(names, value))
        assert (done.stdout, done.stderr, done.returncode) == (usual.stdout, "", 0)
    elsewhere = run(CHOICE, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "elsewhere"))
    assert (elsewhere.stdout, elsewhere.stderr) == (usual.stdout, "")
    assert {path.name for path in tmp_path.iterdir()} == {
        "cache",
        "elsewhere",
    }  # nothing else was written
    assert (
        len(list((tmp_path / "elsewhere").rglob("*.nbc")))
        == len(list((tmp_path / "cache").rglob("*.nbc")))
        > 0
    )

    # Whoever does not want to compile has NumPy, at once, and the same bytes.
    numpy_only = usual.stdout.replace("CompiledMLP", "MLP")
    done = run(CHOICE, tmp_path, NUMBA_DISABLE_JIT="1")
    assert (done.stdout, done.stderr) == (numpy_only, "")
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\ndump_bytecode: 1\n")
    done = run(CHOICE, tmp_path)
    assert (done.stdout, done.stderr) == (numpy_only, "")


def test_an_exponential_of_any_number_up_to_zero():
    from portable.arithmetic import exp
    from portable.compiled import exp as compiled

    x = -np.concatenate(
        [np.geomspace(1e-300, 1e300, 2000), np.linspace(0, 760, 5000), [0.0, np.inf]]
    )
    assert np.array([compiled(value) for value in x]).tobytes() == exp(x).tobytes()


def test_what_is_compiled_is_shared_by_checkouts_of_the_same_content(tmp_path):
    from spirals import compiler

    folder = compiler.ByContent.get_suitable_cache_subpath
    source = ROOT / "src/portable/compiled.py"
    copy = tmp_path / "spirals/compiled.py"
    shutil.copytree(source.parent, copy.parent)
    assert folder(copy) == folder(source)
    for name in ("arithmetic.py", "compiled.py", "compiler.py"):
        file = copy.with_name(name)
        before = file.read_text()
        file.write_text(before + "# changed")
        assert folder(copy) != folder(source)
        file.write_text(before)
    assert folder(copy) == folder(source)


def choice(points, name="mlp", **changes):
    """The form that the default parameters would be trained with on so many points in each class."""
    params = msgspec.structs.replace(getattr(load_params(ROOT), f"train_{name}"), **changes)
    return fastest(name, params, *scattered(points, 3), MODELS[name].initialize(2, 3, params))


def chosen(points):
    return choice(points).__name__


def digest(points):
    return hashlib.sha256(repr(trained(choice(points), (points, 3, 100))).encode()).hexdigest()


def test_it_is_chosen_for_long_trainings_where_numba_is(monkeypatch):
    assert chosen(100) == "CompiledMLP"
    assert chosen(10) == "MLP"
    for module in ("portable.compiled", "portable.compiler"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert chosen(100) == "MLP"


def test_a_model_without_a_compiled_form_is_trained_as_it_is():
    assert Linear.compiled() is None
    assert choice(10, "linear", iterations=100_000_000) is Linear


@pytest.mark.parametrize("fault", ["slower", "other bytes", "an error", None])
def test_a_trial_decides(fault, monkeypatch):
    class Form(MLP):
        def gradient_descent(weights, X, y, params):
            if fault == "an error":
                raise RuntimeError
            end = time.thread_time() + 0.1 * (fault == "slower")  # seconds
            while time.thread_time() < end:
                pass
            yield from known[params.iterations, X.shape]
            for name, value in ends[params.iterations, X.shape].items():
                weights[name][:] = value
                weights[name].flat[0] += fault == "other bytes"

    known, ends = {}, {}

    def remember(model, weights, X, y, params):
        """The NumPy form's own numbers, which the form above then has without work."""
        if model is Form:
            yield from Form.gradient_descent(weights, X, y, params)
            return
        known[params.iterations, X.shape] = [
            (iteration, scores.copy())
            for iteration, scores in gradient_descent(model, weights, X, y, params)
        ]
        ends[params.iterations, X.shape] = {name: value.copy() for name, value in weights.items()}
        yield from known[params.iterations, X.shape]

    monkeypatch.setattr("train.gradient_descent", remember)
    monkeypatch.setattr(MLP, "compiled", lambda: Form)
    assert choice(100) is (MLP if fault else Form)


@pytest.mark.parametrize(
    ("learning_rate", "l2"), [(1000.0, 1.0), (0.03, 100.0), (10_000.0, 1e-3), (1.0, 2.5)]
)
def test_a_divergence_is_found_at_the_same_iteration(learning_rate, l2):
    from portable.compiled import CompiledMLP

    X, y = scattered(20, 3)
    settings = dict(
        seed=1, skip_draws=0, weight_scale=0.5, hidden_units=10, learning_rate=learning_rate, l2=l2
    )
    found = []
    for model in (MLP, CompiledMLP):
        for record_every in (1, 10_000):
            params = SimpleNamespace(**settings, iterations=3000, record_every=record_every)
            weights = MLP.initialize(2, 3, params)
            with np.errstate(all="ignore"), pytest.raises(Diverged) as caught:
                train(model, weights, X, y, params)
            found.append((caught.value.iteration, caught.value.curve[-1]))
    assert found == found[:1] * 4
    assert found[0][0] > 5


@pytest.mark.parametrize("learning_rate", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("model", [MLP, Linear])
def test_weights_stay_below_the_bound_that_spares_looking_at_them(model, learning_rate):
    """From anywhere, as far as the look ahead goes: 2**160 times the largest of them at most."""
    X, y = scattered(5, 3)
    params = SimpleNamespace(
        seed=3, skip_draws=0, hidden_units=7, learning_rate=learning_rate, l2=100.0
    )
    for params.weight_scale in (1e-3, 1.0, 1e30):
        weights = model.initialize(2, 3, params)
        params.iterations = _tame_for(weights, X, params)
        assert params.iterations > 1
        largest = max(1.0, *(np.abs(value).max() for value in weights.values()))
        growth = largest
        for _, scores in gradient_descent(model, weights, X, y, params):
            growth = max(growth, *(np.abs(value).max() for value in weights.values()))
            assert np.isfinite(scores).all()
        assert 1 < growth / largest < 2.0**160 or learning_rate < 1


def test_it_is_not_chosen_where_numba_cannot_keep_or_read_what_it_compiled(tmp_path):
    code = "print(t.chosen(100))"
    assert run(code, tmp_path).stdout == "CompiledMLP\n"
    for index in tmp_path.rglob("*.nbi"):
        index.write_bytes(b"")
    (tmp_path / "file").touch()
    for cache in (tmp_path / "cache", tmp_path / "file"):
        done = run(code, tmp_path, XDG_CACHE_HOME=str(cache))
        assert (done.stdout, done.stderr, done.returncode) == ("MLP\n", "", 0)
