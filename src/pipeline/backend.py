"""Choose what trains a model: NumPy, or its compiled form where that gives the same bytes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import msgspec

from pipeline.twins import source_digest, with_callees
from portable.arithmetic import FloatArray, IntArray
from portable.compiler import set_up_numba
from spirals.models import MLP, Classifier
from spirals.training import Backend, Step, gradient_descent

# Points times weights times iterations. Above this much work NumPy takes at least a second longer
# than compiled code; compiling takes four seconds, once for all experiments.
COMPILE_FROM = 2.5e8
TRIAL_POINTS = 1000
TRIAL_ITERATIONS = 2
TRIAL_RUNS = 5

# The parameters that the compiled form knows. One that is missing here switches it off.
KNOWN_PARAMETERS = {
    "seed",
    "skip_draws",
    "hidden_units",
    "weight_scale",
    "learning_rate",
    "l2",
    "iterations",
    "record_every",
}

# What the compiled form copies: these, and all that they call. If you change any of it, change
# portable/compiled.py with it, run tests/test_compiled.py, and record the new digest here, which
# that test shows.
COPIED = (gradient_descent, MLP)
COPIED_PACKAGES = ("portable", "spirals")
COPIED_DIGEST = "8d004b92750feb3b"


def copied_digest() -> str:
    """Return the digest of the present source of what the compiled form copies."""
    return source_digest(with_callees(COPIED, COPIED_PACKAGES))


@dataclass(frozen=True)
class Choice:
    """What trains a model, and why."""

    backend: Backend
    name: str  # NumPy or Numba
    reason: str


def select_backend(model: Classifier, X: FloatArray, y: IntArray, params: Any) -> Choice:
    """Return what to train a model with; it is not changed.

    The compiled form is chosen where the training is long enough to pay for it, where it is known
    to be the same, and where a short trial gives the same bytes in no more time.

    Args:
        model: before its training.
        X: points, [N, 2].
        y: their classes, [N].
        params: the model's section of params.yaml.
    """
    size = sum(weight.size for weight in model.weights.values())
    if len(X) * size * params.iterations < COMPILE_FROM:
        return _use_numpy("the training is short")
    if reason := why_not_compiled(model, params):
        return _use_numpy(reason)
    try:
        set_up_numba()
        from portable import compiled  # noqa: F401
    except ImportError as error:
        return _use_numpy(f"no Numba: {error}")
    except (OSError, RuntimeError) as error:  # it finds no folder to write compiled code to
        return _use_numpy(_not_working(error))
    return _try_compiled(model, X, y, params)


def why_not_compiled(model: Classifier, params: Any) -> str | None:
    """Return why the compiled form is not known to be the same for this training, if it is not."""
    if type(model) is not MLP:
        return f"{model.title} has no compiled form"
    if params.hidden_units == 1:
        return "with one hidden unit NumPy sums its gradient in another order"
    unknown = sorted({*msgspec.structs.asdict(params)} - KNOWN_PARAMETERS)
    if unknown:
        return f"the compiled form does not know the parameter {unknown[0]}"
    if copied_digest() != COPIED_DIGEST:
        return "the code that the compiled form copies was changed (pipeline/backend.py)"
    return None


def compiled_descent(model: Classifier, X: FloatArray, y: IntArray, params: Any) -> Iterator[Step]:
    """Train a two-layer network as `gradient_descent` does, by its compiled form."""
    from portable import compiled

    return compiled.gradient_descent(
        model.weights,
        X,
        y,
        iterations=params.iterations,
        learning_rate=params.learning_rate,
        l2=params.l2,
    )


def _not_working(error: Exception) -> str:
    """Return why Numba is not used, in one line."""
    message = " ".join(str(error).split())[:100]
    return f"Numba does not work here: {type(error).__name__} {message}"


def _use_numpy(reason: str) -> Choice:
    return Choice(gradient_descent, "NumPy", reason)


@dataclass(frozen=True)
class Trial:
    """A short training: what it gave, in bytes, and the least processor time it took."""

    result: list[bytes]
    seconds: float


def _try_compiled(model: Classifier, X: FloatArray, y: IntArray, params: Any) -> Choice:
    """Return the compiled form, if a trial gives the same bytes in no more time."""
    from numba.core.errors import NumbaError

    every = slice(None, None, 1 + len(X) // TRIAL_POINTS)
    short = msgspec.structs.replace(params, iterations=TRIAL_ITERATIONS)
    expected = _run_trial(gradient_descent, model, X[every], y[every], short)
    try:
        trial = _run_trial(compiled_descent, model, X[every], y[every], short)
    except (NumbaError, OSError, EOFError, UnpicklingError, RuntimeError) as error:
        # Of the compiler, or of the folder that it keeps its code in: full, read-only, corrupted.
        # Anything else is a fault of ours, and is not hidden.
        return _use_numpy(_not_working(error))
    if trial.result != expected.result:
        return _use_numpy("the compiled form gives other bytes on this machine: please report it")
    if trial.seconds > expected.seconds:
        return _use_numpy("the compiled form is not faster here")
    return Choice(compiled_descent, "Numba", "the same bytes in less time")


def _run_trial(
    backend: Backend, model: Classifier, X: FloatArray, y: IntArray, params: Any
) -> Trial:
    seconds = []
    result: list[bytes] = []
    for _ in range(TRIAL_RUNS):
        begin = time.thread_time()  # where others' work on the machine does not count
        trained = model.copy()
        result = [scores.tobytes() for _, scores in backend(trained, X, y, params)]
        seconds.append(time.thread_time() - begin)
    result += [weight.tobytes() for weight in trained.weights.values()]
    return Trial(result, min(seconds))
