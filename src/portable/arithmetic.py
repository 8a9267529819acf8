"""Arithmetic that gives the same bytes on every machine.

NumPy's `matmul`, `dot`, `exp` and `log` differ in the last bit from one kind of CPU to the next: BLAS picks a kernel
with an order of summation of its own, and the transcendental functions come from SIMD variants or from the system's
libm. After 10,000 iterations of gradient descent the last bit has become the sixth digit.

What is used here was the same wherever it was tried: the operations that IEEE 754 defines exactly (`+ - * /`, `sqrt`,
`rint`, `ldexp`, `frexp`, comparisons), and sums in a fixed order.
"""

import math
from decimal import Context, Decimal
from functools import lru_cache

import numpy as np

# ln 2 in two parts: the first has 32 bits, so that its product with an exponent is exact; the second is the rest.
LN2 = Context(prec=60).ln(Decimal(2))
LN2_HIGH = math.floor(LN2 * 2**32) / 2**32
LN2_LOW = float(LN2 - Decimal(LN2_HIGH))

# glibc hands the pages of a freed array back to the system and takes new ones for the next, which costs as much as a
# multiplication, until it has seen a large array come and go.
np.empty(30_000_000 // 8)


def fast_on_short_rows():
    """Has NumPy not copy, in this thread, a factor that is broadcast along rows shorter than its buffer."""
    np.setbufsize(512)  # numbers, not 8192: the copy takes longer than the product of such rows


fast_on_short_rows()

SHORT = 8  # terms; a sum of so many is taken one after another
PART = 128  # terms; a longer pairwise sum is halved


def matmul(a, b):
    """Matrix product [N, K] of [N, M] and [M, K], summed in a fixed order: the case study's `np.dot(a, b)`.

    A short sum (over two coordinates, three classes) is taken term by term. A long one (over hidden units, over
    points) is NumPy's pairwise sum, whose order depends on the number of terms only.

    NumPy is fast on few long rows and slow on many short ones, and there are more points than units or classes: so a
    result for each point is laid out column by column (in Fortran's order). Factors of any layout give the same sums.
    """
    if a.shape[1] <= SHORT:
        a = np.asfortranarray(a)
        total = np.empty((b.shape[1], len(a)))
        for block in _blocks(*total.shape):
            np.multiply(b[0, block, None], a[:, 0], out=total[block])
            for m in range(1, len(b)):
                total[block] += b[m, block, None] * a[:, m]
        return total.T
    if len(a) < b.shape[1]:
        return matmul(b.T, a.T).T
    if a.flags.f_contiguous:
        return _sum_products(a.T, b).T
    a, columns = np.ascontiguousarray(a), np.ascontiguousarray(b.T)
    total = np.empty((len(a), len(columns)))
    for block in _blocks(*a.shape):
        for k, column in enumerate(columns):
            total[block, k] = np.add.reduce(a[block] * column, axis=1)
    return total


def _blocks(rows, length):
    """Slices of rows that together fit in the processor's cache, 256 KiB, so that no product is written to memory."""
    step = max(1, 2**15 // length)
    return [slice(start, start + step) for start in range(0, rows, step)]


def _sum_products(a, b):
    """The sums over m of a[m, n] b[m, k], array of shape [K, N], in the order in which NumPy sums along a row.

    That is the pairwise sum of its loops_utils.h: halves, down to 128 terms, and these in eight interleaved parts.
    """
    terms = len(a)
    if terms > PART:
        half = terms // 2 - terms // 2 % 8
        return _sum_products(a[:half], b[:half]) + _sum_products(a[half:], b[half:])
    whole = terms - terms % 8
    part = b[:8, :, None] * a[:8, None]
    for m in range(8, whole, 8):
        part += b[m : m + 8, :, None] * a[m : m + 8, None]
    total = ((part[0] + part[1]) + (part[2] + part[3])) + (
        (part[4] + part[5]) + (part[6] + part[7])
    )
    for product in b[whole:, :, None] * a[whole:, None]:
        total += product
    return total


@lru_cache
def halves(terms):
    """The order of that sum: its parts, begin and end, and how many pairs of sums each of them completes."""

    def split(begin, end):
        if end - begin <= PART:
            return [[begin, end, 0]]
        half = (end - begin) // 2
        parts = split(begin, begin + half - half % 8) + split(begin + half - half % 8, end)
        parts[-1][2] += 1
        return parts

    return np.array(split(0, terms))


def sum_points(a):
    """Sum [K] of [N, K] over the points, one after another, whatever the layout."""
    return np.add.reduce(np.ascontiguousarray(a), axis=0)


# 1/n! from n = 16 down to 2: for |r| <= ln(2)/2 the next term is below 2**-70.
EXP_SERIES = [np.array(1.0 / math.factorial(n)) for n in range(16, 1, -1)]


def exp(x):
    """e to the power x, an array of any shape, within 1 ulp.

    x = k ln 2 + r with |r| <= ln(2)/2, and e**x = 2**k e**r with the Taylor series of e**r, its small terms first. Zero
    below -745.2, infinity above 709.8, NaN for NaN.
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
    return np.ldexp(series, np.where(k == k, k, 0.0).astype(np.int32))


# 2/(2n+1) from n = 11 down to 1: with z <= 0.0295 the next term is below 2**-60.
_LOG_SERIES = [2.0 / (2 * n + 1) for n in range(11, 0, -1)]


def log(x):
    """Natural logarithm of x, an array of any shape, within 1 ulp.

    x = 2**e m with m between sqrt(1/2) and sqrt(2), f = m - 1, s = f/(2 + f), z = s s: log m = f - (f f/2 - s (f f/2 +
    z (2/3 + 2/5 z + 2/7 z z + ...))), the form that keeps the last bit (fdlibm, e_log.c). -inf for zero, NaN below it.
    """
    valid = (x > 0.0) & (x < np.inf)
    mantissa, exponent = np.frexp(np.where(valid, x, 1.0))
    small = mantissa < math.sqrt(0.5)
    f = np.where(small, mantissa + mantissa, mantissa) - 1.0
    e = exponent - small.astype(np.float64)
    s = f / (2.0 + f)
    z = s * s
    series = np.full_like(z, _LOG_SERIES[0])
    for coefficient in _LOG_SERIES[1:]:
        series *= z
        series += coefficient
    half = 0.5 * f * f
    result = e * LN2_HIGH - ((half - (s * (half + z * series) + e * LN2_LOW)) - f)
    special = np.where(x == 0.0, -np.inf, np.where(x == np.inf, np.inf, np.nan))
    return np.where(valid, result, special)


def log_rounded(x):
    """Natural logarithm of x [N], correctly rounded: 40 decimal digits, then the nearest float.

    Slow (some 10 microseconds a number) and meant for making data. Minus infinity for zero, NaN below it.
    """
    context = Context(prec=40, traps=[])
    return np.array([float(context.ln(Decimal(value))) for value in x.tolist()])


def sin_cos_rounded(x):
    """Sine [N] and cosine [N] of x [N], radians, correctly rounded: 40 or more decimal digits, then the nearest float.

    x = q pi/2 + r with |r| <= pi/4, and the Taylor series of both functions at r. Slow (some 20 microseconds a number)
    and meant for making data. NaN for infinity and NaN.
    """
    pairs = [
        _sin_cos(value) if math.isfinite(value) else (math.nan, math.nan) for value in x.tolist()
    ]
    sine, cosine = np.array(pairs).reshape(-1, 2).T
    return sine, cosine


# Alternating 1/n!, from the 37th down, for sine (odd n) and cosine (even n).
_SIN_SERIES = [
    Context(prec=50).divide((-1) ** (n // 2), math.factorial(n)) for n in range(37, 0, -2)
]
_COS_SERIES = [
    Context(prec=50).divide((-1) ** (n // 2), math.factorial(n)) for n in range(36, -1, -2)
]


def _sin_cos(x):
    context = Context(
        prec=65 + max(0, math.frexp(x)[1] // 3)
    )  # a third: more digits than log10(2) asks for
    quarter = _half_pi(context.prec)
    turns = context.divide(Decimal(x), quarter).to_integral_value()
    r = context.subtract(Decimal(x), context.multiply(turns, quarter))
    context.prec = 50
    square = context.multiply(r, r)
    sine = cosine = Decimal(0)
    for sine_term, cosine_term in zip(_SIN_SERIES, _COS_SERIES, strict=True):
        sine = context.fma(sine, square, sine_term)
        cosine = context.fma(cosine, square, cosine_term)
    sine, cosine = (
        float(context.multiply(sine, r)) or x,
        float(cosine),
    )  # or x: decimal loses the sign of a zero
    return [(sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine)][int(turns) % 4]


@lru_cache
def _half_pi(digits):
    """pi/2 to so many digits, in whole numbers (Machin, 1706): pi/4 = 4 arctan 1/5 - arctan 1/239."""
    unit = 10 ** (digits + 10)

    def arctan_inverse(n):
        total, power, k = 0, unit // n, 1
        while power:
            total += (2 - k % 4) * (power // k)  # plus, minus, plus, minus
            power //= n * n
            k += 2
        return total

    quarter = 4 * arctan_inverse(5) - arctan_inverse(239)
    return Context(prec=digits).divide(Decimal(2 * quarter), Decimal(unit))
