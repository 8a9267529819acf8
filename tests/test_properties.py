"""Properties, over parameters that Hypothesis makes up: each time the same (`derandomize`)."""

import json
import re
import tempfile
from pathlib import Path
from typing import get_args
from unittest import mock

import msgspec
import numpy as np
import pytest
from conftest import layers, widths
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generate import generate
from pipeline import paths
from pipeline.errors import UserError
from pipeline.files import read_curve, read_model, read_points, read_snapshots
from pipeline.params import Params, load_params
from spirals.models import MODELS, score_gradient, softmax
from spirals.training import SNAPSHOT_PERMILLES
from train import train_model

ROOT = Path(__file__).resolve().parents[1]
LINES = re.sub(r" *#.*", "", (ROOT / "params.yaml").read_text()).strip().splitlines()


def profile(cases):
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# Of what is allowed, what takes no time; and for some numbers the usual ones as often as all.
SMALL = {
    "skip_draws": st.integers(0, 100),
    "points_per_class": st.integers(2, 12),
    "classes": st.integers(2, 6),
    "iterations": st.integers(1, 12),
    "record_every": st.integers(1, 15),
    "weight_scale": st.floats(0, 100, exclude_min=True) | st.just(0.01),
    "learning_rate": st.floats(0, 10_000, exclude_min=True) | st.floats(0.01, 3),
    "l2": st.floats(0, 100) | st.just(0.001),
}


def allowed(kind):
    """Any number that a parameter of this kind may be."""
    number, meta = get_args(kind)
    if number is int:
        return st.integers(meta.ge, meta.le)
    low = meta.gt if meta.ge is None else meta.ge
    return st.floats(low, meta.le, exclude_min=meta.ge is None)


def sections():
    """Every section of params.yaml with numbers that are allowed; a hidden layer is small."""
    hidden = set()
    for name in MODELS:
        hidden.update(widths(name))
    strategies = {}
    for section in msgspec.structs.fields(Params):
        values = {}
        for field in msgspec.structs.fields(section.type):
            if field.name in hidden:
                values[field.name] = st.integers(1, 10)
            else:
                values[field.name] = SMALL.get(field.name, allowed(field.type))
        strategies[section.name] = st.fixed_dictionaries(values)
    return st.fixed_dictionaries(strategies)


def check_training(content):
    """Check that valid parameters train, and that the second time the same is written."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        written = run(content, Path(first))
        assert written == run(content, Path(second))
        assert written


def run(content, root):
    """Train all models, check what must hold for them, and return the bytes of every file."""
    (root / "params.yaml").write_text(json.dumps(content))  # which is YAML, too
    params = load_params(root)
    assert msgspec.to_builtins(params) == content
    generate(params, root)
    X, y = read_points(root / paths.DATA)
    assert np.bincount(y).tolist() == [params.generate.points_per_class] * params.generate.classes
    for name in MODELS:
        check_model(name, params, root, X, y)
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root): path.read_bytes() for path in files}


def check_model(name, params, root, X, y):
    section = params.train(name)
    try:
        with mock.patch.object(paths, "ROOT", root):
            curve = train_model(name, section, root)
    except UserError as error:
        check_divergence(name, root, str(error))
        return
    assert read_curve(root / paths.curve(name)).tolist() == [list(point) for point in curve]
    assert curve[-1].iteration == section.iterations
    classes = params.generate.classes
    snapshots = read_snapshots(root / paths.snapshots(name), name, classes)
    assert len(snapshots) == len(SNAPSHOT_PERMILLES)
    model = read_model(root / paths.weights(name), name, classes)
    scores, _ = model.forward(X)
    probabilities = softmax(scores)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    check_gradient(model, X, y, section)


def check_divergence(name, root, message):
    start = rf"the training of {name} diverged: the loss is not finite at iteration \d+"
    assert re.match(start, message)
    assert not (root / paths.weights(name)).exists()
    assert (root / f"diverged/{name}_workspace.csv").exists()


def moved(weights, direction, step):
    return {name: weight + step * direction[name] for name, weight in weights.items()}


def loss_of(model, X, y, l2):
    scores, _ = model.forward(X)
    return model.loss(scores, y, l2)


def check_gradient(model, X, y, section):
    """Check the gradient along a direction against the difference of the loss on both sides.

    The weights are random ones near zero, where the loss is of the order of one, and no hidden
    unit is about to change between on and off.
    """
    random = np.random.default_rng(section.seed)
    weights = {}
    direction = {}
    for name, weight in model.weights.items():
        weights[name] = random.normal(size=weight.shape)
    for name, weight in model.weights.items():
        direction[name] = random.normal(size=weight.shape)
    hidden_layers = layers(weights, X)[:-1]
    if any(np.abs(hidden).min() < 1e-4 for hidden in hidden_layers):
        return
    l2 = min(section.l2, 1.0)

    start = model.from_weights(weights)
    scores, hidden = start.forward(X)
    gradients = start.backward(X, hidden, score_gradient(scores, y))
    start.add_regularization(gradients, l2)
    slope = sum(np.sum(gradients[name] * direction[name]) for name in weights)
    above = model.from_weights(moved(weights, direction, 1e-6))
    below = model.from_weights(moved(weights, direction, -1e-6))
    difference = (loss_of(above, X, y, l2) - loss_of(below, X, y, l2)) / 2e-6
    np.testing.assert_allclose(difference, slope, rtol=1e-5, atol=1e-6)


# What may stand anywhere in a file that somebody has edited.
JUNK = [
    "!!int",
    "!!float",
    "!!bool",
    "!!binary",
    "!!timestamp",
    "!!set",
    "!!omap",
    "!!map",
    "!!null",
    "!!python/object:os.system",
    "<<: ",
    "=",
    "? ",
    "- ",
    ": ",
    "    ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "",
    "\n",
    ">\n",
    "%",
    "@",
    "`",
    "\t",
    '"',
    "'",
    "\\",
    ".nan",
    "-.inf",
    "~",
    "#",
    "---\n",
    "...\n",
    "\x00",
    "\x85",
    "\u2028",
    "\xe9",
    "\ud800",
    "\r",
    "1e5",
    "1_",
    "0x",
    "0o9",
    "    ",
    "2001-13-45",
    "true",
    "null",
    "null: 1",
    "  ",
    "\n",
    "\n  zzz: 1\n",
    "\nzzz:\n",
    "999999999999999999999",
    "-1",
    "0.5",
]
spots = st.integers(0, 10_000)
inserted = st.tuples(spots, st.integers(0, 6), st.sampled_from(JUNK) | st.text(max_size=8))
valued = st.tuples(
    spots,
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.floats(), max_size=2),
)
renamed = st.tuples(spots, spots, st.characters())
repeated = st.tuples(spots, spots)
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), inserted),
        st.tuples(st.just("value"), valued),
        st.tuples(st.just("rename"), renamed),
        st.tuples(st.just("repeat"), repeated),
        st.tuples(st.just("drop"), spots),
    ),
    min_size=1,
    max_size=3,
)


def mutated(changes):
    """The bytes of params.yaml after the changes."""
    lines = list(LINES)
    for kind, change in changes:
        lines = MUTATIONS[kind](lines, change)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def insert(lines, change):
    spot, length, piece = change
    text = "\n".join(lines)
    spot %= len(text) + 1
    return (text[:spot] + piece + text[spot + length :]).split("\n")


def drop(lines, spot):
    spot %= len(lines)
    return lines[:spot] + lines[spot + 1 :] or [""]


def repeat(lines, change):
    source, target = change
    target %= len(lines) + 1
    return [*lines[:target], lines[source % len(lines)], *lines[target:]]


def rename(lines, change):
    spot, place, character = change
    spot %= len(lines)
    line = lines[spot]
    place %= len(line) + 1
    return [*lines[:spot], line[:place] + character + line[place + 1 :], *lines[spot + 1 :]]


def change_value(lines, change):
    spot, value = change
    spot %= len(lines)
    key = lines[spot].partition(":")[0]
    return [*lines[:spot], f"{key}: {value!r}", *lines[spot + 1 :]]


MUTATIONS = {
    "insert": insert,
    "value": change_value,
    "rename": rename,
    "repeat": repeat,
    "drop": drop,
}


def check_loading(changes):
    """Check that what is changed is accepted or refused in plain words."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_bytes(mutated(changes))
        try:
            params = load_params(Path(folder))
        except UserError as error:
            message = str(error)
            assert message.startswith("params.yaml"), message
            assert message.isprintable(), message
            assert len(message) <= 300, message
            return
    assert type(params) is Params
    # What was accepted is within the ranges: checked by msgspec once more, as a whole.
    assert msgspec.convert(msgspec.to_builtins(params), Params) == params


@pytest.mark.slow
@profile(6)
@given(sections())
def test_a_valid_file_trains(content):
    check_training(content)


@pytest.mark.slow
@pytest.mark.exhaustive
@profile(300)
@given(sections())
def test_many_valid_files_train(content):
    check_training(content)


@pytest.mark.slow
@profile(25)
@given(mutations)
def test_a_mutated_file_is_accepted_or_refused(changes):
    check_loading(changes)


@pytest.mark.slow
@pytest.mark.exhaustive
@profile(4_000)
@given(mutations)
def test_many_mutated_files_are_accepted_or_refused(changes):
    check_loading(changes)
