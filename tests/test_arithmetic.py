"""The arithmetic against independent answers: mpmath, fractions, and NumPy's own normal draws."""

import decimal
import importlib.util
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable import arithmetic
from portable.arithmetic import exp, log, log_rounded, matmul, sin_cos_rounded, sum_points
from spirals.data import standard_normal
from spirals.models import cross_entropy, softmax

NUMBERS = 400  # in each range
TINY = 5e-324  # the smallest float
NORMAL = 2.0**-1022  # the smallest that is not subnormal
HUGE = 1.7976931348623157e308  # the largest


def uniform(low, high):
    return np.random.default_rng(1).uniform(low, high, NUMBERS)


def of_all_sizes(low, high):
    """Floats whose exponents of two run from low to high."""
    random = np.random.default_rng(2)
    return np.ldexp(random.uniform(0.5, 1, NUMBERS), random.integers(low, high, NUMBERS))


def around_one():
    random = np.random.default_rng(3)
    return 1 + random.choice([-1, 1], NUMBERS) * 10 ** random.uniform(-16, -0.5, NUMBERS)


def exactly(function, x):
    """The function's values by mpmath, to 60 digits of an argument of any size."""
    with mpmath.workprec(200 + max(0, int(np.max(np.frexp(x)[1])))):
        return [function(mpmath.mpf(value)) for value in x.tolist()]


def error(got, exact):
    """The largest error in units in the last place of the exact value."""
    errors = []
    with mpmath.workprec(200):
        for value, expected in zip(got.tolist(), exact, strict=True):
            unit = np.spacing(max(abs(float(expected)), NORMAL))
            errors.append(float(abs(value - expected) / unit))
    return max(errors)


EXP_RANGES = [
    (-745.13, -708.4),
    (-708.4, -40),
    (-40, 0),
    (-1, 1),
    (-1e-8, 1e-8),
    (0, 40),
    (40, 709.78),
]


@pytest.mark.parametrize(("low", "high"), EXP_RANGES)
def test_exp_is_within_1_ulp(low, high):
    x = uniform(low, high)
    assert error(exp(x), exactly(mpmath.exp, x)) <= 1


def test_exp_at_the_seams_of_its_range_reduction():
    """Half-way between two multiples of ln 2, where the series has most to do."""
    x = (np.arange(-1074, 1024) + 0.5) * math.log(2)
    x = np.concatenate([np.nextafter(x, -np.inf), x, np.nextafter(x, np.inf)])
    assert error(exp(x), exactly(mpmath.exp, x)) <= 1


def test_exp_of_special_values():
    x = [0.0, -0.0, TINY, -TINY, -745.13, -745.14, -HUGE, -math.inf, math.nan]
    expected = [1, 1, 1, 1, TINY, 0, 0, 0, math.nan]
    np.testing.assert_array_equal(exp(np.array(x)), expected)


def test_exp_is_infinite_above_the_largest_float_only():
    assert math.isfinite(exp(np.array([709.782712893384]))[0])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(exp(np.array([709.7828, 1e6, HUGE, math.inf])), math.inf)


def test_exp_warns_only_of_overflow():
    exp(np.array([-math.inf, -HUGE, -745.14, TINY, 709.78, math.nan]))
    with pytest.warns(RuntimeWarning, match="overflow"):
        exp(np.array([709.7828]))


LOG_NUMBERS = {
    "normal": of_all_sizes(-1021, 1025),
    "subnormal": of_all_sizes(-1073, -1021),
    "from one half to two": uniform(0.5, 2),
    "to either side of one": around_one(),
    "sums of three exponentials": uniform(1, 3),
    "edges": np.array([TINY, NORMAL, math.sqrt(0.5), 1.0, math.sqrt(2), HUGE]),
}


@pytest.mark.parametrize("kind", LOG_NUMBERS)
def test_log_is_within_1_ulp(kind):
    x = LOG_NUMBERS[kind]
    assert error(log(x), exactly(mpmath.log, x)) <= 1


@pytest.mark.parametrize("kind", LOG_NUMBERS)
def test_log_rounded_is_the_nearest_float(kind):
    x = LOG_NUMBERS[kind][:500]
    np.testing.assert_array_equal(
        log_rounded(x), [float(value) for value in exactly(mpmath.log, x)]
    )


@pytest.mark.parametrize("function", [log, log_rounded])
def test_logarithms_of_special_values(function):
    x = np.array([0.0, -0.0, -TINY, -1.0, -math.inf, math.inf, math.nan, 1.0])
    expected = [-math.inf, -math.inf, math.nan, math.nan, math.nan, math.inf, math.nan, 0]
    np.testing.assert_array_equal(function(x), expected)


SIN_COS_NUMBERS = {
    "angles of the spirals": uniform(-1, 13),
    "small": of_all_sizes(-1073, -1),
    "large": of_all_sizes(5, 100),
    "huge": of_all_sizes(100, 1025)[:300],
    # the last comes nearest to a multiple of pi/2 of all floats (Kahan and McDonald)
    "multiples of pi/2": np.array(
        [*(np.arange(1, 300) * (math.pi / 2)), 6381956970095103 * 2.0**797]
    ),
    "edges": np.array([TINY, -TINY, NORMAL, HUGE, -HUGE, math.pi / 4, -math.pi / 4]),
}


@pytest.mark.parametrize("kind", SIN_COS_NUMBERS)
def test_sine_and_cosine_are_the_nearest_floats(kind):
    x = SIN_COS_NUMBERS[kind][:500]
    sine, cosine = sin_cos_rounded(x)
    np.testing.assert_array_equal(sine, [float(value) for value in exactly(mpmath.sin, x)])
    np.testing.assert_array_equal(cosine, [float(value) for value in exactly(mpmath.cos, x)])


def test_sine_and_cosine_of_special_values():
    sine, cosine = sin_cos_rounded(np.array([0.0, -0.0, math.inf, -math.inf, math.nan]))
    np.testing.assert_array_equal(sine, [0, 0, math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(np.signbit(sine[:2]), [False, True])
    np.testing.assert_array_equal(cosine, [1, 1, math.nan, math.nan, math.nan])


FUNCTIONS = [exp, log, log_rounded, sin_cos_rounded]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_leaves_its_argument_alone(function):
    x = np.array([0.5, -0.25, 2.0])
    before = x.copy()
    function(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_no_numbers_gives_none(function):
    assert np.shape(function(np.array([]))) in ((0,), (2, 0))


@pytest.mark.parametrize("function", [exp, log])
def test_a_function_takes_numbers_in_any_shape_and_layout(function):
    grid = np.linspace(0.1, 3.0, 24).reshape(4, 6)
    np.testing.assert_array_equal(function(grid.T[::2]), function(grid).T[::2])
    assert function(np.float64(2.0)) == function(np.array([2.0]))[0]


COARSE = decimal.Context(prec=4, rounding=decimal.ROUND_UP)  # what a caller may have set


@pytest.mark.parametrize("function", [log_rounded, sin_cos_rounded])
def test_a_function_does_not_use_the_callers_decimal_context(function):
    x = uniform(0, 13)[:200]
    usual = function(x)
    with decimal.localcontext(COARSE) as context:
        np.testing.assert_array_equal(function(x), usual)
        assert not any(context.flags.values())


def test_the_constants_do_not_use_the_importers_decimal_context():
    spec = importlib.util.spec_from_file_location("again", arithmetic.__file__)
    again = importlib.util.module_from_spec(spec)
    with decimal.localcontext(COARSE) as context:
        spec.loader.exec_module(again)
        assert not any(context.flags.values())
    for name in ("LN2_HIGH", "LN2_LOW", "EXP_SERIES", "SIN_SERIES", "COS_SERIES"):
        assert getattr(again, name) == getattr(arithmetic, name)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize(
    ("skip", "count"), [(0, 1), (0, 300), (318, 6), (324, 500), (1, 7), (1000, 2_000)]
)
def test_normal_draws_are_those_of_numpy(seed, skip, count):
    """NumPy's own have the system's logarithm in them, so a few differ in the last bits."""
    ours = standard_normal(seed, skip, count)
    numpys = np.random.RandomState(seed).standard_normal(skip + count)[skip:]
    assert ours.shape == (count,)
    assert np.max(np.abs(ours - numpys) / np.spacing(np.abs(numpys))) <= 4
    assert np.mean(ours != numpys) <= 0.005


def test_no_normal_draws():
    assert standard_normal(0, 5, 0).shape == (0,)


# Rows of a, inner axis, columns of b: those of the pipeline, and edges of both ways to sum.
SHAPES = [
    (300, 2, 100),
    (300, 100, 3),
    (100, 300, 3),
    (300, 3, 100),
    (2, 300, 100),
    (1, 1, 1),
    (5, 8, 4),
    (5, 9, 4),
]


def factors(shape, seed):
    rows, inner, columns = shape
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, inner)), random.normal(size=(inner, columns))


@pytest.mark.parametrize("shape", [*SHAPES, (4, 1000, 3), (3, 9, 1), (1, 129, 7)])
def test_matmul_of_whole_numbers_is_exact(shape):
    rows, inner, columns = shape
    random = np.random.default_rng(4)
    a = random.integers(-(2**20), 2**20, (rows, inner))
    b = random.integers(-(2**20), 2**20, (inner, columns))
    np.testing.assert_array_equal(matmul(a.astype(float), b.astype(float)), a @ b)


@pytest.mark.parametrize("shape", SHAPES)
def test_matmul_is_within_the_bound_of_its_sums(shape):
    """An entry's error is at most half an ulp of the sum of moduli for each operation on its way.

    Pairwise: the product, up to 16 additions in each of eight running sums, three to
    join these, and one for each time that 128 terms were doubled (here, twice).
    """
    rows, inner, columns = shape
    a, b = factors(shape, seed=5)
    product = matmul(a, b)
    assert product.shape == (rows, columns)
    steps = inner if inner <= 8 else 1 + 16 + 3 + 2
    for i in {0, rows // 2, rows - 1}:
        for j in {0, columns // 2, columns - 1}:
            pairs = zip(a[i].tolist(), b[:, j].tolist(), strict=True)
            terms = [Fraction(p) * Fraction(q) for p, q in pairs]
            bound = steps * 2**-53 * float(sum(map(abs, terms)))
            assert abs(Fraction(float(product[i, j])) - sum(terms)) <= bound


def test_matmul_of_many_terms_is_summed_pairwise():
    """One after another they would be off by 10,000 times as much."""
    terms = 100_000
    product = matmul(np.full((1, terms), 0.1), np.ones((terms, 1)))[0, 0]
    assert abs(Fraction(float(product)) - terms * Fraction(0.1)) <= 32 * 2**-53 * terms * 0.1


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 20),
    st.sampled_from([1, 2, 8, 9, 15, 16, 17, 100, 128, 129, 300]),
    st.integers(1, 20),
)
def test_matmul_sums_by_the_number_of_terms_only(rows, inner, columns):
    """Each entry is the same alone, in another layout, and in the transposed product."""
    a, b = factors((rows, inner, columns), seed=rows + 100 * inner + columns)
    product = matmul(a, b)
    strided = np.repeat(b, 2, axis=0)[::2]
    assert matmul(a[-1:], b[:, -1:])[0, 0] == product[-1, -1]
    np.testing.assert_array_equal(matmul(np.asfortranarray(a), strided), product)
    np.testing.assert_array_equal(matmul(b.T, a.T).T, product)


def test_matmul_refuses_factors_that_do_not_fit():
    with pytest.raises(ValueError, match="a has 2 columns, and b 3 rows"):
        matmul(np.zeros((4, 2)), np.zeros((3, 5)))


@pytest.mark.parametrize("shape", [*SHAPES, (40, 1000, 7), (3, 131, 40)])
def test_matmul_sums_in_numpy_s_order(shape):
    """Bit for bit: one after another if short, else as NumPy sums products side by side."""
    a, b = factors(shape, seed=6)
    products = np.ascontiguousarray(a[:, None, :] * b.T[None, :, :])
    if shape[1] <= 8:
        expected = np.add.accumulate(products, axis=2)[..., -1]
    else:
        expected = np.add.reduce(products, axis=2)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        np.testing.assert_array_equal(matmul(layout(a), b), expected)


def test_points_are_summed_one_after_another():
    a = np.random.default_rng(7).normal(size=(1000, 5))
    for layout in (np.ascontiguousarray, np.asfortranarray):
        np.testing.assert_array_equal(sum_points(layout(a)), np.add.accumulate(a, axis=0)[-1])


FAR = [0.0, 1e-300, 0.3, 36.7, 37.5, 700.0, 708.5, 745.0, 746.0, 1e5, 1e308]


def softmax_and_loss(scores, y):
    """Probabilities and data loss by mpmath, where the differences of the scores are exact."""
    rows = []
    loss = mpmath.mpf(0)
    for row, label in zip(scores.tolist(), y.tolist(), strict=True):
        top = mpmath.mpf(max(row))
        powers = [mpmath.exp(mpmath.mpf(score) - top) for score in row]
        total = sum(powers)
        rows.append([float(power / total) for power in powers])
        loss += mpmath.log(total) - (mpmath.mpf(row[label]) - top)
    return rows, float(loss / len(y))


@pytest.mark.parametrize("offset", [-37.0, 1e4])
@pytest.mark.parametrize("apart", FAR)
def test_softmax_and_loss_of_scores_of_any_size(offset, apart):
    """A probability that no float can hold becomes 0; its logarithm is taken all the same."""
    scores = np.array([[offset, offset + apart, offset], [offset + apart, offset, offset]])
    y = np.array([1, 1])
    with mpmath.workprec(3000):
        probabilities, loss = softmax_and_loss(scores, y)
    np.testing.assert_allclose(softmax(scores), probabilities, rtol=2e-15, atol=TINY)
    assert cross_entropy(scores, y) == pytest.approx(loss, rel=1e-15, abs=3e-16)


def test_softmax_where_the_scores_are_further_apart_than_the_largest_float():
    scores = np.array([[HUGE, -HUGE, 0.0], [HUGE, HUGE, -HUGE], [-HUGE, -HUGE, -HUGE]])
    np.testing.assert_allclose(softmax(scores), [[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-15)


def test_loss_where_the_scores_are_further_apart_than_the_largest_float():
    assert cross_entropy(np.array([[-HUGE] * 3]), np.array([0])) == pytest.approx(math.log(3))
    assert cross_entropy(np.array([[HUGE, -HUGE, 0.0]]), np.array([1])) == math.inf
