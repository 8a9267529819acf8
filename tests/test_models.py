"""The mathematics against independent answers: differences, known values, a plain re-statement."""

import math

import msgspec
import numpy as np
import pytest
import restatement
from conftest import section, widths

from spirals.models import MODELS, Linear, accuracy, cross_entropy, score_gradient, softmax
from spirals.training import SNAPSHOT_PERMILLES, Diverged, gradient_descent, train

# points, inputs, classes, hidden units
SHAPES = [(5, 2, 2, 1), (30, 2, 3, 7), (40, 2, 11, 20), (7, 9, 4, 3)]


def points(shape):
    """Random points X and classes y."""
    count, inputs, classes, _ = shape
    random = np.random.default_rng(3)
    return random.normal(size=(count, inputs)), random.integers(classes, size=count)


def settings(name, shape):
    """The section of a model with values that are not the defaults; no two layers are alike."""
    values = {
        "seed": 5,
        "skip_draws": 2,
        "weight_scale": 0.5,
        "learning_rate": 0.3,
        "l2": 0.02,
        "iterations": 30,
        "record_every": 7,
    }
    for number, width in enumerate(widths(name)):
        values[width] = shape[-1] + number
    return section(name, **values)


def begin(name, shape):
    """A model before its training, and its section."""
    params = settings(name, shape)
    _, inputs, classes, _ = shape
    return MODELS[name].initialize(inputs, classes, params), params


def data_gradients(model, X, y):
    scores, hidden = model.forward(X)
    return model.backward(X, hidden, score_gradient(scores, y))


def moved_loss(model, name, index, step, X, y):
    """The data loss with one of the weights moved."""
    moved = model.copy()
    moved.weights[name][index] += step
    scores, _ = moved.forward(X)
    return cross_entropy(scores, y)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_gradient_matches_differences(name, shape):
    X, y = points(shape)
    model, _ = begin(name, shape)
    random = np.random.default_rng(4)
    for weight in model.weights.values():
        if weight.ndim == 1:  # a unit whose inputs are all off would be at the bend of its ReLU
            weight[:] = random.normal(size=weight.shape)

    gradients = data_gradients(model, X, y)

    assert gradients.keys() == model.weights.keys()
    h = 1e-6
    for weight, gradient in gradients.items():
        assert gradient.shape == model.weights[weight].shape
        for index in np.ndindex(gradient.shape):
            above = moved_loss(model, weight, index, h, X, y)
            below = moved_loss(model, weight, index, -h, X, y)
            assert gradient[index] == pytest.approx((above - below) / (2 * h), abs=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_regularization_enters_the_loss_for_matrices_only(name):
    X, y = points(SHAPES[1])
    model, _ = begin(name, SHAPES[1])
    for weight in model.weights.values():
        weight += 1.0  # the biases too
    scores, _ = model.forward(X)

    penalty = model.loss(scores, y, 0.5) - model.loss(scores, y, 0.0)

    matrices = [weight for weight in model.weights.values() if weight.ndim == 2]
    assert penalty == pytest.approx(0.25 * sum(np.sum(W**2) for W in matrices))


@pytest.mark.parametrize("name", MODELS)
def test_regularization_enters_the_update_for_matrices_only(name):
    X, y = points(SHAPES[1])
    start, params = begin(name, SHAPES[1])
    trained = {}
    for l2 in (0.0, 0.5):
        model = start.copy()
        one_step = msgspec.structs.replace(params, iterations=1, l2=l2)
        list(gradient_descent(model, X, y, one_step))
        trained[l2] = model.weights

    for weight, value in start.weights.items():
        pull = 0.3 * 0.5 * value if value.ndim == 2 else 0.0
        difference = trained[0.0][weight] - trained[0.5][weight]
        np.testing.assert_allclose(difference, pull, atol=1e-14)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("name", MODELS)
def test_first_loss_of_small_weights_is_ln_of_classes(name, classes):
    shape = (60, 2, classes, 10)
    X, y = points(shape)
    model, params = begin(name, shape)
    for weight in model.weights.values():
        weight *= 1e-6
    scores, _ = model.forward(X)
    assert model.loss(scores, y, params.l2) == pytest.approx(math.log(classes), abs=1e-5)


RESTATEMENTS = {"linear": restatement.linear, "mlp": restatement.net}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", RESTATEMENTS)
def test_training_is_the_case_study_s_loop(name, shape):
    X, y = points(shape)
    model, params = begin(name, shape)
    other = model.copy()
    theirs = RESTATEMENTS[name](X, y, *other.weights.values(), 0.3, 0.02, 30)

    ours = [model.loss(scores, y, 0.02) for _, scores in gradient_descent(model, X, y, params)]

    np.testing.assert_allclose(ours[:-1], theirs, rtol=1e-9)
    for weight, value in model.weights.items():
        np.testing.assert_allclose(value, other.weights[weight], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_a_model_is_not_trained_with_it(name):
    model, _ = begin(name, SHAPES[1])
    before = {weight: value.tolist() for weight, value in model.weights.items()}
    kept = model.copy()
    for weight in model.weights.values():
        weight += 1.0
    assert {weight: value.tolist() for weight, value in kept.weights.items()} == before


@pytest.mark.parametrize(
    "wrong", [{"W": np.zeros((2, 3))}, {"W": np.zeros((2, 3)), "b": np.zeros(3), "c": np.zeros(3)}]
)
def test_a_model_is_made_of_its_own_weights_and_no_others(wrong):
    with pytest.raises(TypeError):
        Linear.from_weights(wrong)


def test_probabilities_for_scores_of_any_size():
    scores = np.array(
        [[0.0, 0.0, 0.0], [1e308, -1e308, 0.0], [1e5, 1e5 - 1, -1e5], [-1e300, -1e300, -1e300]]
    )
    near = 1 / (1 + math.exp(-1))
    expected = [[1 / 3] * 3, [1, 0, 0], [near, 1 - near, 0], [1 / 3] * 3]
    np.testing.assert_allclose(softmax(scores), expected, rtol=1e-12)


def test_loss_is_finite_where_a_probability_underflows():
    scores = np.array([[2000.0, 0.0], [0.0, 1.0]])
    expected = (2000.0 + math.log1p(math.exp(-1))) / 2
    assert cross_entropy(scores, np.array([1, 1])) == pytest.approx(expected, rel=1e-15)


def test_accuracy_is_the_share_of_points_with_the_highest_score_in_their_class():
    scores = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    assert accuracy(scores, np.array([1, 0, 0, 0])) == 0.75


class Trained:
    """A two-layer network after 250 iterations, and all that its training told."""

    def __init__(self):
        self.X, self.y = points(SHAPES[1])
        self.model, self.params = begin("mlp", SHAPES[1])
        self.params = msgspec.structs.replace(self.params, iterations=250, record_every=100)
        self.first = self.model.copy()
        self.reported = []
        self.curve, self.snapshots = train(
            self.model, self.X, self.y, self.params, lambda *event: self.reported.append(event)
        )


@pytest.fixture(scope="module")
def trained():
    return Trained()


def test_the_curve_has_every_so_many_iterations_and_the_last(trained):
    assert [point.iteration for point in trained.curve] == [0, 100, 200, 250]


def test_the_last_point_of_the_curve_is_of_the_trained_model(trained):
    scores, _ = trained.model.forward(trained.X)
    loss = trained.model.loss(scores, trained.y, trained.params.l2)
    assert trained.curve[-1] == (250, loss, accuracy(scores, trained.y))


def test_every_iteration_is_reported_with_the_loss_if_it_was_recorded(trained):
    assert [iteration for iteration, _ in trained.reported] == list(range(251))
    recorded = [event for event in trained.reported if event[1] is not None]
    assert recorded == [point[:2] for point in trained.curve]


def test_there_is_a_snapshot_at_every_planned_permille(trained):
    assert [snapshot.permille for snapshot in trained.snapshots] == list(SNAPSHOT_PERMILLES)
    for snapshot in trained.snapshots:
        assert snapshot.iteration == snapshot.permille * 250 // 1000


def test_a_snapshot_is_the_model_before_that_iteration_s_update(trained):
    ends = {0: trained.first, -1: trained.model}
    for place, model in ends.items():
        snapshot = trained.snapshots[place]
        scores, _ = model.forward(trained.X)
        assert snapshot.accuracy == accuracy(scores, trained.y)
        for name, weight in model.weights.items():
            np.testing.assert_array_equal(snapshot.model.weights[name], weight)


def diverged(name, change=lambda model: None, **settings):
    """The error of a training that diverges."""
    X, y = points(SHAPES[1])
    model, params = begin(name, SHAPES[1])
    change(model)
    params = msgspec.structs.replace(params, **settings)
    with np.errstate(all="ignore"), pytest.raises(Diverged) as caught:
        train(model, X, y, params)
    return caught.value


def test_a_divergence_is_raised_with_the_curve_up_to_there():
    error = diverged("linear", learning_rate=1e3, l2=1.0, iterations=2000, record_every=1)
    assert [point.iteration for point in error.curve] == list(range(error.iteration))
    assert all(math.isfinite(point.loss) for point in error.curve)


@pytest.mark.parametrize("learning_rate", [0.03, 1e3])
def test_scores_that_are_not_finite_are_found_at_once_however_seldom_they_are_recorded(
    learning_rate,
):
    settings = {"learning_rate": learning_rate, "l2": 100.0, "iterations": 10_000}
    error = diverged("linear", record_every=10_000, **settings)
    assert [point.iteration for point in error.curve] == [0]
    assert 0 < error.iteration < 10_000
    with np.errstate(all="ignore"):
        assert error.iteration >= diverged("linear", record_every=1, **settings).iteration


def switch_off(model):
    model.b -= 1e300


def test_a_loss_that_is_not_finite_is_found_though_the_scores_are():
    """No hidden unit is on, so the weights grow by their regularization, and the scores do not."""
    settings = {"learning_rate": 0.03, "l2": 100.0, "iterations": 10_000}
    error = diverged("mlp", switch_off, record_every=1, **settings)
    assert error.iteration == len(error.curve) > 100
    seldom = diverged("mlp", switch_off, record_every=10_000, **settings)
    assert error.iteration < seldom.iteration < 10_000
