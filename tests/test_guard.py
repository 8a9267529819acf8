"""No step from the seeds to the metrics calls BLAS, einsum, or a transcendental function.

Looked at twice: the arrays of a small run tell which functions of NumPy they meet, and the
source is read for what arrays cannot see. Both check against lists of what is allowed: what
was the same wherever it was tried. An addition to a list needs such a trial (`make portability`).
Pictures are not covered here, but by the comparison of their bytes (test_sameness.py).
"""

import ast
import importlib
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from conftest import ROOT, for_every_model, run_to_metrics
from sources import closure


def guarded():
    """The scripts up to evaluate, and all of ours that they import."""
    found = set()
    for script in ("generate", "train", "evaluate"):
        found |= closure(ROOT / f"src/{script}.py")
    return sorted(str(path.relative_to(ROOT)) for path in found)


GUARDED = guarded()


def words(text):
    return set(text.split())


EXACT = words(
    """add subtract multiply divide negative absolute sqrt square rint ldexp frexp maximum
    minimum"""
)
COMPARISONS = words(
    """equal not_equal less less_equal greater greater_equal bitwise_and bitwise_or invert
    isfinite"""
)
SUMS = words(
    """add.reduce maximum.reduce minimum.reduce logical_and.reduce logical_or.reduce sum max min"""
)
MOVES = words(
    """array asarray ascontiguousarray asfortranarray empty empty_like zeros zeros_like full
    full_like arange linspace stack concatenate repeat split array_split swapaxes copyto where
    argmax reshape ravel"""
)
ALLOWED_CALLS = EXACT | COMPARISONS | SUMS | MOVES

OF_NUMPY = ALLOWED_CALLS | words(
    "inf nan pi float64 int32 int64 errstate setbufsize random.RandomState ndarray"
)
OF_MATH = words("factorial floor frexp isfinite ldexp nan inf pi prod sqrt")
IMPORTS = words(
    """abc argparse ast atexit collections contextlib csv dataclasses decimal difflib functools gc
    hashlib inspect itertools json os pathlib pickle re sys types typing
    time
    llvmlite msgspec numba ruamel tqdm
    bridge pipeline portable spirals"""
)  # time decides between two forms of the training, which give the same bytes
COMPUTING = {"numpy", "math"}  # seen only if they are imported as a whole, by their usual name


class Spy(np.ndarray):
    """An array that notes the functions of NumPy it meets, as do their results."""

    met: ClassVar[set] = set()

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
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root): path.read_bytes() for path in files}


def test_arrays_meet_only_what_is_the_same_everywhere(tmp_path, monkeypatch, met):
    usual = run(tmp_path / "plain")
    assert met == set()
    for source in GUARDED:
        name = source.removeprefix("src/").removesuffix(".py").replace("/", ".")
        module = importlib.import_module(name)
        if hasattr(module, "np"):
            monkeypatch.setattr(module, "np", SpyNumPy())
    assert run(tmp_path / "spied") == usual
    assert met >= {"add.reduce", "multiply", "divide", "ldexp", "frexp", "sqrt", "maximum", "stack"}
    assert met - ALLOWED_CALLS == set()


def complaints(source):
    """What a module must not have, in words, each with its line."""
    tree = ast.parse(source)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        check = CHECKS.get(type(node))
        for complaint in check(node, id(node) in inner) if check else []:
            found.append((line, complaint))
    return found


def check_import(node, _):
    for alias in node.names:
        package = alias.name.split(".")[0]
        if package in COMPUTING:
            usual = {"numpy": "np", "math": None}[package]
            if (alias.name, alias.asname) != (package, usual):
                yield f"import {alias.name} as {alias.asname}"
        elif package not in IMPORTS:
            yield f"import {alias.name}"


def check_import_from(node, _):
    if node.module != "numpy.typing" and node.module.split(".")[0] not in IMPORTS:
        yield f"from {node.module} import"


def check_attribute(node, is_inner):
    if node.attr == "dot":
        yield ".dot"
    if is_inner:
        return
    module, _, name = ast.unparse(node).partition(".")
    allowed = {"np": OF_NUMPY, "math": OF_MATH}.get(module)
    if allowed is not None and name.replace(".", "").isidentifier() and name not in allowed:
        yield ast.unparse(node)


def check_name(node, is_inner):
    if node.id in ("np", "math") and not is_inner:
        yield f"{node.id} by itself"


def check_operation(node, _):
    base = node.left if isinstance(node, ast.BinOp) else node.target
    if isinstance(node.op, ast.MatMult):
        yield "@: take matmul of portable.arithmetic"
    if isinstance(node.op, ast.Pow) and not ast.unparse(base).lstrip("-(").rstrip(")").isdigit():
        yield "a power, unless of a whole number, is not the same everywhere: take math.prod"


def check_call(node, _):
    if ast.unparse(node.func) == "pow":
        yield "pow"


def check_keyword(node, _):
    if node.arg in ("fastmath", "parallel"):
        yield node.arg


CHECKS = {
    ast.Import: check_import,
    ast.ImportFrom: check_import_from,
    ast.Attribute: check_attribute,
    ast.Name: check_name,
    ast.BinOp: check_operation,
    ast.AugAssign: check_operation,
    ast.Call: check_call,
    ast.keyword: check_keyword,
}


@pytest.mark.parametrize("module", GUARDED)
def test_source_names_only_what_is_the_same_everywhere(module):
    assert complaints((ROOT / module).read_text()) == []


def test_the_guarded_modules_are_those_that_compute():
    scripts = {"src/generate.py", "src/train.py"}
    modules = {"src/spirals/models.py", "src/portable/arithmetic.py", "src/portable/compiled.py"}
    assert scripts | modules <= {*GUARDED}


OFFENCES = """
x @ y;  x.dot(y);  np.dot(x, y);  np.matmul(x, y);  np.inner(x, y);  np.vdot(x, y);
np.vecdot(x, y);  np.tensordot(x, y);  np.einsum('ij,jk', x, y);  np.linalg.norm(x);
np.linalg.inv(x);  np.exp(x);  np.log(x);  np.log1p(x);  np.expm1(x);  np.sin(x);  np.cos(x);
np.tanh(x);  np.power(x, 1.5);  x ** 1.5;  np.logaddexp(x, y);  np.logaddexp.reduce(x);
np.hypot(x, y);  np.interp(x, y[0], y[1]);  np.cbrt(x);
"""
UNSEEN_BY_ARRAYS = """
math.exp(1.0);  math.sin(1.0);  math.log(2.0);  math.pow(2.0, 0.5);  2.0 ** 0.5;
pow(2.0, 0.5);  math.sumprod(x, y);  np.random.default_rng(0);  np.random.Generator;
np.random.randn(3);  getattr(np, 'exp')(x);  from math import exp;  from numpy import dot;
import numpy;  import numpy as numbers;  import math as m;  import scipy.special;
from numpy.linalg import norm;  import numpy.linalg;  import numpy.linalg as np;
import random;  y = np;  x @= y;  x **= 1.5;  np.float128;  numba.njit(fastmath=True)
"""


def offences(text):
    return [offence.strip() for offence in text.split(";") if offence.strip()]


@pytest.mark.parametrize("offence", offences(OFFENCES))
def test_guard_sees_a_relapse_in_arrays(offence, met):
    x = spied(np.array([[1.0, 2.0], [3.0, 5.0]]))
    y = spied(np.array([[0.5, 1.5], [2.5, 3.5]]))
    eval(offence, {"np": SpyNumPy(), "x": x, "y": y})
    assert met - ALLOWED_CALLS


@pytest.mark.parametrize("offence", offences(OFFENCES + UNSEEN_BY_ARRAYS))
def test_guard_sees_a_relapse_in_the_source(offence):
    assert complaints(offence) != []


ALLOWED = """
import math
import numpy as np
x = 2**32 * np.add.reduce(y, axis=1) / math.sqrt(2)
"""


def test_guard_lets_pass_what_is_allowed():
    assert complaints(ALLOWED) == []
