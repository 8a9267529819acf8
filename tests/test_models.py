"""The mathematics against independent answers: differences, known values, a plain re-statement."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import restatement
from conftest import widths

from spirals.models import MLP, MODELS, Linear, accuracy, loss, softmax
from spirals.training import SNAPSHOTS, Diverged, gradient_descent, train

SHAPES = [
    (5, 2, 2, 1),
    (30, 2, 3, 7),
    (40, 2, 11, 20),
    (7, 9, 4, 3),
]  # points, inputs, classes, hidden units


def problem(shape, seed=3, **settings):
    """Random points, classes, and settings that are not the defaults."""
    points, inputs, classes, hidden = shape
    random = np.random.default_rng(seed)
    X = random.normal(size=(points, inputs))
    y = random.integers(classes, size=points)
    defaults = dict(seed=5, skip_draws=2, weight_scale=0.5, learning_rate=0.3, l2=0.02)
    layers = dict.fromkeys(width for name in MODELS for width in widths(name))
    defaults |= {width: hidden + number for number, width in enumerate(layers)}  # no two are alike
    return (
        X,
        y,
        classes,
        SimpleNamespace(**{**defaults, "iterations": 30, "record_every": 7, **settings}),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS.values())
def test_gradient_matches_differences(model, shape):
    X, y, classes, params = problem(shape)
    weights = model.initialize(X.shape[1], classes, params)
    random = np.random.default_rng(4)
    for name in weights:
        if (
            weights[name].ndim == 1
        ):  # a unit whose inputs are all off would be at the bend of its ReLU
            weights[name] = random.normal(size=weights[name].shape)
    scores, hidden = model.forward(weights, X)
    gradients = model.backward(weights, X, hidden, model.score_gradient(scores, y))
    assert gradients.keys() == weights.keys()
    h = 1e-6
    for name, gradient in gradients.items():
        assert gradient.shape == weights[name].shape
        for index in np.ndindex(gradient.shape):
            values = []
            for step in (h, -h):
                moved = {key: value.copy() for key, value in weights.items()}
                moved[name][index] += step
                values.append(loss(moved, model.forward(moved, X)[0], y, l2=0.0))
            assert gradient[index] == pytest.approx((values[0] - values[1]) / (2 * h), abs=1e-7)


@pytest.mark.parametrize("model", MODELS.values())
def test_regularization_enters_loss_and_update(model):
    X, y, classes, params = problem(SHAPES[1], iterations=1, l2=0.5)
    weights = model.initialize(X.shape[1], classes, params)
    scores, _ = model.forward(weights, X)
    penalty = 0.25 * sum(np.sum(value**2) for value in weights.values() if value.ndim == 2)
    assert loss(weights, scores, y, 0.5) - loss(weights, scores, y, 0.0) == pytest.approx(penalty)
    without = {name: value.copy() for name, value in weights.items()}
    list(gradient_descent(model, weights, X, y, params))
    start = model.initialize(X.shape[1], classes, params)
    list(gradient_descent(model, without, X, y, SimpleNamespace(**{**vars(params), "l2": 0.0})))
    for name in weights:
        pull = 0.3 * 0.5 * start[name] if start[name].ndim == 2 else 0.0
        np.testing.assert_allclose(without[name] - weights[name], pull, atol=1e-14)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_first_loss_of_small_weights_is_ln_of_classes(classes):
    X, y, _, params = problem((60, 2, classes, 10), weight_scale=1e-6, l2=1e-3)
    for model in MODELS.values():
        weights = model.initialize(2, classes, params)
        scores, _ = model.forward(weights, X)
        assert loss(weights, scores, y, params.l2) == pytest.approx(math.log(classes), abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_training_is_the_case_study_loop(shape):
    X, y, classes, params = problem(shape)
    weights = Linear.initialize(X.shape[1], classes, params)
    other = {name: value.copy() for name, value in weights.items()}
    losses = restatement.linear(X, y, other["W"], other["b"], 0.3, 0.02, 30)
    ours = [
        loss(weights, scores, y, 0.02)
        for _, scores in gradient_descent(Linear, weights, X, y, params)
    ]
    np.testing.assert_allclose(ours[:-1], losses, rtol=1e-9)
    for name in weights:
        np.testing.assert_allclose(weights[name], other[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_net_training_is_the_case_study_loop(shape):
    X, y, classes, params = problem(shape)
    weights = MLP.initialize(X.shape[1], classes, params)
    other = {name: value.copy() for name, value in weights.items()}
    losses = restatement.net(X, y, *(other[name] for name in ("W", "b", "W2", "b2")), 0.3, 0.02, 30)
    ours = [
        loss(weights, scores, y, 0.02) for _, scores in gradient_descent(MLP, weights, X, y, params)
    ]
    np.testing.assert_allclose(ours[:-1], losses, rtol=1e-9)
    for name in weights:
        np.testing.assert_allclose(weights[name], other[name], rtol=1e-9, atol=1e-12)


def test_probabilities_for_scores_of_any_size():
    scores = np.array(
        [[0.0, 0.0, 0.0], [1e308, -1e308, 0.0], [1e5, 1e5 - 1, -1e5], [-1e300, -1e300, -1e300]]
    )
    expected = [
        [1 / 3] * 3,
        [1, 0, 0],
        [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1)), 0],
        [1 / 3] * 3,
    ]
    np.testing.assert_allclose(softmax(scores), expected, rtol=1e-12)


def test_loss_is_finite_where_a_probability_underflows():
    scores = np.array([[2000.0, 0.0], [0.0, 1.0]])
    no_weights = {"W": np.zeros((2, 2))}
    expected = (2000.0 + math.log1p(math.exp(-1))) / 2
    assert loss(no_weights, scores, np.array([1, 1]), 0.0) == pytest.approx(expected, rel=1e-15)


def test_accuracy_counts():
    assert (
        accuracy(np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]]), np.array([1, 0, 0, 0]))
        == 0.75
    )


def test_history_is_complete():
    X, y, classes, params = problem(SHAPES[1], iterations=250, record_every=100)
    weights = MLP.initialize(2, classes, params)
    first = {name: value.copy() for name, value in weights.items()}
    seen = []
    curve, snapshots = train(MLP, weights, X, y, params, lambda *event: seen.append(event))
    assert [point[0] for point in curve] == [0, 100, 200, 250]
    assert [iteration for iteration, _ in seen] == list(range(251))
    assert [(iteration, value) for iteration, value in seen if value is not None] == [
        point[:2] for point in curve
    ]
    assert [snapshot["permille"] for snapshot in snapshots] == list(SNAPSHOTS)
    assert snapshots[0]["weights"] == {name: value.tolist() for name, value in first.items()}
    assert snapshots[-1]["weights"] == {name: value.tolist() for name, value in weights.items()}
    assert all(s["iteration"] == s["permille"] * 250 // 1000 for s in snapshots)
    scores, _ = MLP.forward(weights, X)
    assert curve[-1] == (250, loss(weights, scores, y, params.l2), accuracy(scores, y))


def test_divergence_is_raised_with_the_curve_up_to_there():
    X, y, classes, params = problem(
        SHAPES[1], learning_rate=1e3, l2=1.0, iterations=2000, record_every=1
    )
    weights = Linear.initialize(2, classes, params)
    with np.errstate(all="ignore"), pytest.raises(Diverged) as caught:
        train(Linear, weights, X, y, params)
    assert caught.value.curve[-1][0] == caught.value.iteration - 1
    assert all(math.isfinite(value) for _, value, _ in caught.value.curve)


@pytest.mark.parametrize(
    ("model", "learning_rate", "l2"),
    [(Linear, 0.03, 100.0), (Linear, 1e3, 1.0), (MLP, 0.03, 100.0)],
)
def test_a_divergence_is_found_at_once_however_seldom_the_loss_is_recorded(
    model, learning_rate, l2
):
    """The net has no unit that is on, so its weights grow and its scores do not."""
    found = []
    for record_every in (1, 10_000):
        settings = {
            "learning_rate": learning_rate,
            "l2": l2,
            "iterations": 10_000,
            "record_every": record_every,
        }
        X, y, classes, params = problem(SHAPES[1], **settings)
        weights = model.initialize(2, classes, params)
        weights["b"] -= 1e300 * (model is MLP)
        with np.errstate(all="ignore"), pytest.raises(Diverged) as caught:
            train(model, weights, X, y, params)
        found.append((caught.value.iteration, caught.value.curve[-1]))
        assert record_every == 1 or len(caught.value.curve) == 2
    assert found[0] == found[1]
