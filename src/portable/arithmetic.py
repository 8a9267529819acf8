"""Arithmetic that gives the same bytes on every machine.

NumPy's `matmul`, `dot`, `exp` and `log` differ in the last bit from one kind of CPU to the next:
BLAS picks a kernel with an order of summation of its own, and the transcendental functions come
from SIMD variants or from the system's libm. After 10,000 iterations of gradient descent the last
bit has become the sixth digit.

This module uses only the operations that IEEE 754 defines exactly (`+ - * /`, `sqrt`, `rint`,
`ldexp`, `frexp`, comparisons) and sums in a fixed order. They gave the same bytes wherever they
were tried.
"""

import math
from decimal import Context, Decimal
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHORT_SUM = 8  # terms; a sum of at most so many is taken one term after another
PAIRWISE_BLOCK = 128  # terms; a longer sum is the sum of its two halves
CACHE_NUMBERS = 2**15  # 256 KiB: an array of so many stays in the processor's cache


def matmul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the matrix product a @ b, with sums in a fixed order.

    A short sum (over two coordinates, or three classes) is taken term by term. A long one (over
    hidden units, or over points) is NumPy's pairwise sum, whose order depends on the number of
    terms only. The memory layout of the factors changes the speed, never the result.

    Args:
        a: [N, M].
        b: [M, K].

    Returns:
        The product, [N, K].

    Raises:
        ValueError: the factors do not fit together.
    """
    if a.shape[1] != len(b):
        raise ValueError(f"a has {a.shape[1]} columns, and b {len(b)} rows")
    if a.shape[1] <= SHORT_SUM:
        return _matmul_short(a, b)
    if len(a) < b.shape[1]:
        return matmul(b.T, a.T).T  # NumPy is fast on few long rows and slow on many short ones
    if a.flags.f_contiguous:
        return _pairwise_matmul(a.T, b).T
    return _matmul_by_rows(a, b)


def _matmul_short(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return a @ b, the terms of each sum one after another.

    The result is laid out column by column: there are more points than units or classes.
    """
    a = np.asfortranarray(a)
    total = np.empty((b.shape[1], len(a)))
    for block in _row_blocks(*total.shape):
        np.multiply(b[0, block, None], a[:, 0], out=total[block])
        for m in range(1, len(b)):
            total[block] += b[m, block, None] * a[:, m]
    return total.T


def _matmul_by_rows(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return a @ b by NumPy's own pairwise sum along the rows of a."""
    rows = np.ascontiguousarray(a)
    columns = np.ascontiguousarray(b.T)
    total = np.empty((len(rows), len(columns)))
    for block in _row_blocks(*rows.shape):
        for k, column in enumerate(columns):
            total[block, k] = np.add.reduce(rows[block] * column, axis=1)
    return total


def _row_blocks(rows: int, length: int) -> list[slice]:
    """Return slices of the rows; the rows of one slice, of this length, fit in the CPU's cache."""
    step = max(1, CACHE_NUMBERS // max(1, length))
    return [slice(start, start + step) for start in range(0, rows, step)]


def _pairwise_matmul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the sums over m of a[m, n] b[m, k], in the order of NumPy's sum along a row.

    That is the pairwise sum of NumPy's loops_utils.h: the terms are halved down to blocks of at
    most 128, and each block is summed in eight interleaved parts.

    Args:
        a: [M, N].
        b: [M, K].

    Returns:
        The sums, [K, N].
    """
    terms = len(a)
    if terms > PAIRWISE_BLOCK:
        half = _first_half(terms)
        return _pairwise_matmul(a[:half], b[:half]) + _pairwise_matmul(a[half:], b[half:])
    whole = terms - terms % 8
    part = b[:8, :, None] * a[:8, None]
    for m in range(8, whole, 8):
        part += b[m : m + 8, :, None] * a[m : m + 8, None]
    total = (part[0] + part[1]) + (part[2] + part[3])
    total += (part[4] + part[5]) + (part[6] + part[7])
    for product in b[whole:, :, None] * a[whole:, None]:
        total += product
    return total


def _first_half(terms: int) -> int:
    """Return the length of the first half of a long pairwise sum."""
    half = terms // 2
    return half - half % 8


@cache
def pairwise_blocks(terms: int) -> IntArray:
    """Return the order of a pairwise sum of so many terms, for code that writes out its loop.

    Returns:
        One row for each block of at most 128 terms, [blocks, 3]: its first term, the one after its
        last, and how many pairs of sums are complete, and so are added, after it.
    """

    def split(begin: int, end: int) -> list[list[int]]:
        if end - begin <= PAIRWISE_BLOCK:
            return [[begin, end, 0]]
        middle = begin + _first_half(end - begin)
        blocks = split(begin, middle) + split(middle, end)
        blocks[-1][2] += 1
        return blocks

    return np.array(split(0, terms))


def sum_points(a: FloatArray) -> FloatArray:
    """Return the sum [K] of a [N, K] over the points, in NumPy's order.

    It adds one point after another, except in a single column, where it is a pairwise sum.
    """
    return np.add.reduce(np.ascontiguousarray(a), axis=0)


# ln 2 in two parts: the first has 32 bits, so that its product with an exponent is exact.
# Every step has its own context: the caller's may have any precision.
DIGITS = Context(prec=60)
LN2 = DIGITS.ln(Decimal(2))
LN2_HIGH = math.floor(DIGITS.multiply(LN2, Decimal(2**32))) / 2**32
LN2_LOW = float(DIGITS.subtract(LN2, Decimal.from_float(LN2_HIGH)))

# 1/n! from n = 16 down to 2: for |r| <= ln(2)/2 the next term is below 2**-70.
EXP_SERIES = [1.0 / math.factorial(n) for n in range(16, 1, -1)]


def exp(x: FloatArray) -> FloatArray:
    """Return e to the power x, of any shape, within 1 ulp.

    x = k ln 2 + r with |r| <= ln(2)/2, and e**x = 2**k e**r with the Taylor series of e**r, its
    small terms first. Zero below -745.2, infinity above 709.8, NaN for NaN.
    """
    x = np.minimum(np.maximum(x, -746.0), 710.0)
    k = np.rint(x * (1.0 / (LN2_HIGH + LN2_LOW)))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = np.full_like(r, EXP_SERIES[0])
    for coefficient in EXP_SERIES[1:]:
        series *= r
        series += coefficient
    series *= r
    series *= r
    series += r
    series += 1.0
    exponent = np.where(k == k, k, 0.0)  # of NaN, which has none: the series is NaN already
    return np.ldexp(series, exponent.astype(np.int32))


# 2/(2n+1) from n = 11 down to 1: with z <= 0.0295 the next term is below 2**-60.
LOG_SERIES = [2.0 / (2 * n + 1) for n in range(11, 0, -1)]


def log(x: FloatArray) -> FloatArray:
    """Return the natural logarithm of x, of any shape, within 1 ulp.

    x = 2**e m with m between sqrt(1/2) and sqrt(2), f = m - 1, s = f/(2 + f), z = s s, and
    log m = f - (f f/2 - s (f f/2 + z (2/3 + 2/5 z + 2/7 z z + ...))): the form that keeps the last
    bit (fdlibm, e_log.c). Minus infinity for zero, NaN below it.
    """
    valid = (x > 0.0) & (x < np.inf)
    mantissa, exponent = np.frexp(np.where(valid, x, 1.0))
    small = mantissa < math.sqrt(0.5)
    f = np.where(small, mantissa + mantissa, mantissa) - 1.0
    e = exponent - small.astype(np.float64)
    s = f / (2.0 + f)
    z = s * s
    series = np.full_like(z, LOG_SERIES[0])
    for coefficient in LOG_SERIES[1:]:
        series *= z
        series += coefficient
    half = 0.5 * f * f
    result = e * LN2_HIGH - ((half - (s * (half + z * series) + e * LN2_LOW)) - f)
    special = np.where(x == 0.0, -np.inf, np.where(x == np.inf, np.inf, np.nan))
    return np.where(valid, result, special)


def log_rounded(x: FloatArray) -> FloatArray:
    """Return the natural logarithm of x [N], correctly rounded.

    40 decimal digits, then the nearest float: some 10 microseconds a number, meant for making data.
    Minus infinity for zero, NaN below it.
    """
    context = Context(prec=40, traps=[])
    return np.array([float(context.ln(Decimal.from_float(value))) for value in x.tolist()])


def sin_cos_rounded(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sine [N] and cosine [N] of x [N] radians, correctly rounded.

    40 or more decimal digits, then the nearest float: some 20 microseconds a number, meant for
    making data. NaN for infinity and NaN.
    """
    pairs = [_sin_cos(value) for value in x.tolist()]
    sine, cosine = np.array(pairs).reshape(-1, 2).T
    return sine, cosine


SERIES_DIGITS = Context(prec=50)
# Alternating 1/n!, from the 37th down, for sine (odd n) and cosine (even n).
SIN_SERIES = [SERIES_DIGITS.divide((-1) ** (n // 2), math.factorial(n)) for n in range(37, 0, -2)]
COS_SERIES = [SERIES_DIGITS.divide((-1) ** (n // 2), math.factorial(n)) for n in range(36, -1, -2)]


def _sin_cos(x: float) -> tuple[float, float]:
    """Return sine and cosine of x radians: x = q pi/2 + r with |r| <= pi/4, and Taylor series."""
    if not math.isfinite(x):
        return math.nan, math.nan
    exponent = math.frexp(x)[1]
    context = Context(prec=65 + max(0, exponent // 3))  # a third: more digits than log10(2) needs
    quarter = _half_pi(context.prec)
    turns = context.to_integral_value(context.divide(Decimal.from_float(x), quarter))
    r = context.subtract(Decimal.from_float(x), context.multiply(turns, quarter))
    context.prec = 50
    square = context.multiply(r, r)
    sine_sum = Decimal(0)
    cosine_sum = Decimal(0)
    for sine_term, cosine_term in zip(SIN_SERIES, COS_SERIES, strict=True):
        sine_sum = context.fma(sine_sum, square, sine_term)
        cosine_sum = context.fma(cosine_sum, square, cosine_term)
    sine = float(context.multiply(sine_sum, r)) or x  # or x: decimal loses the sign of a zero
    cosine = float(cosine_sum)
    quadrants = [(sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine)]
    return quadrants[int(turns) % 4]


@cache
def _half_pi(digits: int) -> Decimal:
    """Return pi/2 to so many digits (Machin, 1706): pi/4 = 4 arctan 1/5 - arctan 1/239."""
    unit = 10 ** (digits + 10)
    quarter = 4 * _arctan_inverse(5, unit) - _arctan_inverse(239, unit)
    return Context(prec=digits).divide(Decimal(2 * quarter), Decimal(unit))


def _arctan_inverse(n: int, unit: int) -> int:
    """Return arctan 1/n as a whole number of 1/unit, by its Taylor series."""
    total = 0
    power = unit // n
    k = 1
    while power:
        sign = 2 - k % 4  # plus, minus, plus, minus
        total += sign * (power // k)
        power //= n * n
        k += 2
    return total
