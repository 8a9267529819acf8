"""Nothing in the path from the seeds to the metrics calls BLAS, einsum, or a transcendental function.

Looked at twice: the arrays of a small run tell which functions of NumPy they meet, and the
source is read for what arrays cannot see. Both check against lists of what is allowed: what
was the same wherever it was tried. An addition to a list needs such a trial (`make portability`).
Pictures are not covered here, but by the comparison of their bytes (test_sameness.py).
"""

import ast
import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, for_every_model, run_to_metrics
from sources import closure

GUARDED = sorted(
    {
        str(path.relative_to(ROOT))
        for script in ("generate", "train", "evaluate")
        for path in closure(ROOT / f"src/{script}.py")
    }
)

EXACT = "add subtract multiply divide negative absolute sqrt square rint ldexp frexp maximum minimum".split()
COMPARISONS = "equal not_equal less less_equal greater greater_equal bitwise_and bitwise_or invert isfinite".split()
SUMS = "add.reduce maximum.reduce minimum.reduce logical_and.reduce logical_or.reduce sum max min".split()
MOVES = """array asarray ascontiguousarray asfortranarray empty empty_like zeros zeros_like full full_like arange
    linspace stack concatenate repeat split array_split swapaxes copyto where argmax reshape ravel""".split()
ALLOWED_CALLS = {*EXACT, *COMPARISONS, *SUMS, *MOVES}

OF_NUMPY = {
    *ALLOWED_CALLS,
    *"inf nan pi float64 int32 errstate setbufsize random.RandomState".split(),
}
OF_MATH = {*"factorial floor frexp isfinite ldexp nan inf pi prod sqrt".split()}
IMPORTS = {
    *"argparse contextlib csv dataclasses decimal difflib functools gc hashlib json math os".split(),
    *"pathlib re sys typing".split(),
    "time",  # decides between two forms of the net, which give the same bytes
    *"llvmlite msgspec numba numpy pipeline ruamel spirals tqdm".split(),
}


class Spy(np.ndarray):
    """An array that notes the functions of NumPy it meets, and hands the habit on to their results."""

    met = set()

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **settings):
        Spy.met.add(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}")
        settings = {key: plain(value) for key, value in settings.items()}
        if out:
            settings["out"] = tuple(map(plain, out))
        result = getattr(ufunc, method)(*map(plain, inputs), **settings)
        return out[0] if len(out) == 1 else spied(result)

    def __array_function__(self, function, types, args, settings):
        Spy.met.add(function.__name__)
        return spied(super().__array_function__(function, types, args, settings))

    def dot(self, other):
        Spy.met.add("dot")
        return spied(plain(self).dot(plain(other)))


def plain(value):
    return value.view(np.ndarray) if isinstance(value, Spy) else value


def spied(value):
    if isinstance(value, tuple | list):
        return type(value)(map(spied, value))
    return value.view(Spy) if isinstance(value, np.ndarray) else value


class SpyNumPy:
    """NumPy, but every array that it makes is a spy."""

    class random:
        def RandomState(seed):
            draw = np.random.RandomState(seed).random_sample
            return SimpleNamespace(random_sample=lambda size: spied(draw(size)))

    def __getattr__(self, name):
        value = getattr(np, name)
        if isinstance(value, np.ufunc):
            Spy.met.add(name)
        elif callable(value) and not isinstance(value, type):
            return lambda *args, **settings: spied(value(*args, **settings))
        return value


@pytest.fixture
def met(monkeypatch):
    monkeypatch.setattr(Spy, "met", set())
    return Spy.met


def run(root):
    root.mkdir()
    run_to_metrics(root, for_every_model(units=20))
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_arrays_meet_only_what_is_the_same_everywhere(tmp_path, monkeypatch, met):
    usual = run(tmp_path / "plain")
    assert met == set()
    for source in GUARDED:
        module = importlib.import_module(
            source.removeprefix("src/").removesuffix(".py").replace("/", ".")
        )
        if hasattr(module, "np"):
            monkeypatch.setattr(module, "np", SpyNumPy())
    assert run(tmp_path / "spied") == usual
    assert met >= {"add.reduce", "multiply", "divide", "ldexp", "frexp", "sqrt", "maximum", "stack"}
    assert met - ALLOWED_CALLS == set()


def complaints(source):
    """What a module must not have; by line and in words."""
    tree = ast.parse(source)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] not in IMPORTS or (alias.name, alias.asname) == (
                    "numpy",
                    None,
                ):
                    yield line, f"import {alias.name}"
                if alias.name in ("numpy", "math") and alias.asname not in ("np", None):
                    yield line, f"import {alias.name} as {alias.asname}"
        elif isinstance(node, ast.ImportFrom):
            if node.module.split(".")[0] not in IMPORTS - {"numpy", "math"}:
                yield line, f"from {node.module} import"
        elif isinstance(node, ast.Attribute):
            if node.attr == "dot":
                yield line, ".dot"
            if id(node) not in inner:
                root, _, name = ast.unparse(node).partition(".")
                if name.replace(".", "").isidentifier() and name not in {
                    "np": OF_NUMPY,
                    "math": OF_MATH,
                }.get(root, name):
                    yield line, ast.unparse(node)
        elif isinstance(node, ast.Name) and node.id in ("np", "math") and id(node) not in inner:
            yield line, f"{node.id} by itself"
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            base = node.left if isinstance(node, ast.BinOp) else node.target
            if isinstance(node.op, ast.MatMult):
                yield line, "@"
            if (
                isinstance(node.op, ast.Pow)
                and not ast.unparse(base).lstrip("-(").rstrip(")").isdigit()
            ):
                yield line, "a power, unless of a whole number"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pow":
            yield line, "pow"
        elif isinstance(node, ast.keyword) and node.arg in ("fastmath", "parallel"):
            yield line, node.arg


@pytest.mark.parametrize("module", GUARDED)
def test_source_names_only_what_is_the_same_everywhere(module):
    assert list(complaints((ROOT / module).read_text())) == []


def test_the_guarded_modules_are_those_that_compute():
    assert {
        "src/generate.py",
        "src/train.py",
        "src/spirals/models.py",
        "src/portable/arithmetic.py",
    } <= set(GUARDED)
    assert "src/portable/compiled.py" in GUARDED


OFFENCES = """
x @ y;  x.dot(y);  np.dot(x, y);  np.matmul(x, y);  np.inner(x, y);  np.vdot(x, y);  np.vecdot(x, y)
np.tensordot(x, y);  np.einsum('ij,jk', x, y);  np.linalg.norm(x);  np.linalg.inv(x)
np.exp(x);  np.log(x);  np.log1p(x);  np.expm1(x);  np.sin(x);  np.cos(x);  np.tanh(x);  np.power(x, 1.5);  x ** 1.5
np.logaddexp(x, y);  np.logaddexp.reduce(x);  np.hypot(x, y);  np.interp(x, y[0], y[1]);  np.cbrt(x)
""".replace("\n", ";").split(";")
UNSEEN_BY_ARRAYS = """
math.exp(1.0);  math.sin(1.0);  math.log(2.0);  math.pow(2.0, 0.5);  2.0 ** 0.5;  pow(2.0, 0.5);  math.sumprod(x, y)
np.random.default_rng(0);  np.random.Generator;  np.random.randn(3);  getattr(np, 'exp')(x);  from math import exp
from numpy import dot;  import numpy;  import numpy as numbers;  import math as m;  import scipy.special
import random;  y = np;  x @= y;  x **= 1.5;  np.float128;  numba.njit(fastmath=True)
""".replace("\n", ";").split(";")


@pytest.mark.parametrize("offence", [text.strip() for text in OFFENCES if text.strip()])
def test_guard_sees_a_relapse_in_arrays(offence, met):
    x, y = (
        spied(values)
        for values in (np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.5, 1.5], [2.5, 3.5]]))
    )
    eval(offence, {"np": SpyNumPy(), "x": x, "y": y})
    assert met - ALLOWED_CALLS


@pytest.mark.parametrize(
    "offence", [text.strip() for text in OFFENCES + UNSEEN_BY_ARRAYS if text.strip()]
)
def test_guard_sees_a_relapse_in_the_source(offence):
    assert len(list(complaints(offence))) > 0


def test_guard_lets_pass_what_is_allowed():
    assert (
        list(
            complaints(
                "import math\nimport numpy as np\nx = 2**32 * np.add.reduce(y, axis=1) / math.sqrt(2)"
            )
        )
        == []
    )
