"""Properties, over parameters that Hypothesis makes up: the same ones every time (`derandomize`)."""

import json
import re
import tempfile
from pathlib import Path
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
from pipeline.files import read_curve, read_points, read_snapshots, read_weights
from pipeline.params import Generate, Params, load_params
from spirals.models import MODELS, loss, regularized, softmax
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


seeds = st.integers(0, 2**32 - 1)


def training(**more):
    """The section of a model: any numbers that are allowed, but few iterations."""
    return st.fixed_dictionaries(
        {
            "seed": seeds,
            "skip_draws": st.integers(0, 100),
            "weight_scale": st.floats(0, 100, exclude_min=True) | st.just(0.01),
            "learning_rate": st.floats(0, 10_000, exclude_min=True) | st.floats(0.01, 3),
            "l2": st.floats(0, 100) | st.just(0.001),
            "iterations": st.integers(1, 12),
            "record_every": st.integers(1, 15),
            **more,
        }
    )


OF_DATA = {
    "seed": seeds,
    "skip_draws": st.integers(0, 100),
    "points_per_class": st.integers(2, 12),
    "classes": st.integers(2, 6),
    "noise": st.floats(0, 10),
}
valid = st.fixed_dictionaries(
    {
        "generate": st.fixed_dictionaries(
            {key: OF_DATA[key] for key in Generate.__struct_fields__}
        ),
        **{
            f"train_{name}": training(**dict.fromkeys(widths(name), st.integers(1, 10)))
            for name in MODELS
        },
        "evaluate": st.fixed_dictionaries({"seed": seeds, "points_per_class": st.integers(2, 5)}),
        "plot": st.fixed_dictionaries({"grid": st.integers(10, 2000), "dpi": st.integers(50, 600)}),
    }
)


def trains(content):
    """A valid file trains, and what it writes is the same the second time."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, second = run(content, Path(one)), run(content, Path(two))
        assert first == second != {}


def run(content, root):
    """Trains all models, checks what must hold for them, and returns the bytes of every file."""
    (root / "params.yaml").write_text(json.dumps(content))  # which is YAML, too
    params = load_params(root)
    assert msgspec.to_builtins(params) == content
    generate(params, root)
    X, y = read_points(root / paths.DATA)
    assert np.bincount(y).tolist() == [params.generate.points_per_class] * params.generate.classes
    for name, model in MODELS.items():
        section = getattr(params, f"train_{name}")
        try:
            with mock.patch.object(paths, "ROOT", root):
                curve = train_model(name, section, root)
        except UserError as error:
            assert re.match(
                rf"the training of {name} diverged: the loss is not finite at iteration \d+",
                str(error),
            )
            assert not (root / paths.weights(name)).exists()
            assert (root / f"diverged/{name}_workspace.csv").exists()
            continue
        assert read_curve(root / paths.curve(name)).tolist() == [list(row) for row in curve]
        assert curve[-1][0] == section.iterations
        weights = read_weights(root / paths.weights(name), name, params.generate.classes)
        assert (
            len(read_snapshots(root / paths.snapshots(name), name, params.generate.classes)) == 57
        )
        probabilities = softmax(model.forward(weights, X)[0])
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
        check_gradient(model, weights, X, y, section)
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def check_gradient(model, weights, X, y, section):
    """The gradient along a random direction, against the difference of the loss on both sides of a point.

    The point is a random one near zero, where the loss is of the order of one, and no unit
    of the net is about to change between on and off.
    """
    random = np.random.default_rng(section.seed)
    point = {name: random.normal(size=value.shape) for name, value in weights.items()}
    if any(np.abs(hidden).min() < 1e-4 for hidden in layers(point, X)[:-1]):
        return
    direction = {name: random.normal(size=value.shape) for name, value in weights.items()}
    l2 = min(section.l2, 1.0)

    def along(step):
        moved = {name: value + step * direction[name] for name, value in point.items()}
        return loss(moved, model.forward(moved, X)[0], y, l2)

    scores, hidden = model.forward(point, X)
    gradients = model.backward(point, X, hidden, model.score_gradient(scores, y))
    for name in regularized(point):
        gradients[name] = gradients[name] + l2 * point[name]
    slope = sum(np.sum(gradients[name] * direction[name]) for name in point)
    np.testing.assert_allclose((along(1e-6) - along(-1e-6)) / 2e-6, slope, rtol=1e-5, atol=1e-6)


JUNK = """!!int|!!float|!!bool|!!binary|!!timestamp|!!set|!!omap|!!map|!!null|!!python/object:os.system|<<: |=|? |- |: |
    |[|]|{|}|&a |*a||\\n|>\\n|%|@|`|\t|"|'|\\|.nan|-.inf|~|#|---\\n|...\\n|\0|\x85|\u2028|é|\ud800|\r|1e5|1_|0x|0o9|
    |2001-13-45|true|null|null: 1|  |\\n|\\n  zzz: 1\\n|\\nzzz:\\n|999999999999999999999|-1|0.5""".split(
    "|"
)
JUNK = [piece.strip("\n").replace("\\n", "\n") for piece in JUNK]
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
moved = st.tuples(spots, spots)
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), inserted),
        st.tuples(st.just("value"), valued),
        st.tuples(st.just("rename"), renamed),
        st.tuples(st.just("repeat"), moved),
        st.tuples(st.just("drop"), spots),
    ),
    min_size=1,
    max_size=3,
)


def mutated(changes):
    """The bytes of params.yaml after the changes."""
    lines = list(LINES)
    for kind, change in changes:
        if kind == "insert":
            spot, length, piece = change
            text = "\n".join(lines)
            spot %= len(text) + 1
            lines = (text[:spot] + piece + text[spot + length :]).split("\n")
            continue
        number = (change if kind == "drop" else change[0]) % len(lines)
        if kind == "drop":
            del lines[number : number + 1]
            lines = lines or [""]
        elif kind == "repeat":
            lines.insert(change[1] % (len(lines) + 1), lines[number])
        elif kind == "rename":
            spot = change[1] % (len(lines[number]) + 1)
            lines[number] = lines[number][:spot] + change[2] + lines[number][spot + 1 :]
        else:
            lines[number] = f"{lines[number].partition(':')[0]}: {change[1]!r}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def is_accepted_or_refused_in_plain_words(changes):
    with tempfile.TemporaryDirectory() as folder:
        content = mutated(changes)
        Path(folder, "params.yaml").write_bytes(content)
        try:
            params = load_params(Path(folder))
        except UserError as error:
            message = str(error)
            assert (
                message.startswith("params.yaml") and len(message) <= 300 and message.isprintable()
            ), message
            return
        assert type(params) is Params
        # What was accepted is within the ranges: checked by msgspec once more, as a whole.
        assert msgspec.convert(msgspec.to_builtins(params), Params) == params


@profile(15)
@given(valid)
def test_a_valid_file_trains(content):
    trains(content)


@pytest.mark.slow
@profile(600)
@given(valid)
def test_many_valid_files_train(content):
    trains(content)


@profile(60)
@given(mutations)
def test_a_mutated_file_is_accepted_or_refused(changes):
    is_accepted_or_refused_in_plain_words(changes)


@pytest.mark.slow
@profile(10_000)
@given(mutations)
def test_many_mutated_files_are_accepted_or_refused(changes):
    is_accepted_or_refused_in_plain_words(changes)
