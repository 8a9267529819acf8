"""The net with its loops compiled by Numba: the bytes of `spirals.models.MLP` in a quarter of the time.

Every sum is taken in the order of `spirals.arithmetic`. Without `fastmath` the compiler may
neither reorder a sum nor contract a product and a sum to one operation. It is fast because it
works on blocks that stay in the cache, LANES points or units side by side, whose sums are
independent of each other, and because a pass over them adds up to four terms, not one.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding
import numba
import numpy as np
from numba.core.caching import UserWideCacheLocator

from spirals import arithmetic
from spirals.arithmetic import EXP_SERIES, LN2_HIGH, LN2_LOW, PART, SHORT
from spirals.models import MLP

LANES = 128
SERIES = tuple(map(float, EXP_SERIES))
POWERS = np.ldexp(1.0, np.arange(-538, 2))  # of two


class ByContent(UserWideCacheLocator):
    """Where Numba keeps what it compiled: for the user, by content, so that all checkouts of an experiment share it."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file):
        content = [Path(file).read_bytes() for file in (py_file, arithmetic.__file__)]
        content.append(llvmlite.binding.get_host_cpu_name().encode())  # a home may be shared by different machines
        return "spirals-" + hashlib.sha256(b"".join(content)).hexdigest()[:16]


if numba.config.DISABLE_JIT:
    raise ImportError("Numba was told not to compile: as plain Python these loops would take hours")
numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.ByContent"
compiled = numba.njit(error_model="numpy", cache=True)


class CompiledMLP(MLP):
    """`spirals.models.MLP`, for a training that is long enough to pay for the compilation."""

    @staticmethod
    def gradient_descent(weights, X, y, params):
        """As `spirals.training.gradient_descent`, for points with two coordinates."""
        W, b, W2, b2 = (weights[name] for name in ("W", "b", "W2", "b2"))
        kept = buffers(X, *W2.shape)
        for iteration in range(params.iterations):
            scores = forward(kept, W, b, W2, b2)
            yield iteration, scores.T
            descend(kept, W, b, W2, b2, scores, y, params.learning_rate, params.l2)
        yield params.iterations, forward(kept, W, b, W2, b2).T


NAMES = "points parts units unit_parts out dscores across near far hidden dhidden eighths sums"
Buffers = NamedTuple("Buffers", [(name, object) for name in NAMES.split()])


def buffers(X, hidden, classes):
    """What is kept from one iteration to the next. A block of columns is cut out of rows into `near` and `far`."""

    def zeros(*shape):
        size = np.empty(shape).size
        memory = np.zeros(size + 8)
        begin = -memory.ctypes.data // 8 % 8  # where a line of the cache begins: a vector that lies in two is slow
        return memory[begin : begin + size].reshape(shape)

    fours = classes + -classes % 4  # the last with -0.0 times 0.0, since x + -0.0 is x
    kept = Buffers(
        *(zeros(3, len(X)), halves(len(X))),  # x, y, 1
        *(zeros(3, hidden), halves(hidden), zeros(classes, hidden)),  # W and b; W2 turned round
        *(zeros(classes, len(X)), zeros(len(X), fours)),  # the same gradients as rows and as columns
        *(zeros(3, LANES), zeros(fours, LANES), zeros(PART, LANES), zeros(PART, LANES), zeros(8, LANES)),
        zeros(2 + max(len(X), hidden).bit_length(), classes + 2, LANES),
    )
    kept.points[:2], kept.points[2], kept.across[:, classes:] = X.T, 1.0, -0.0
    return kept


@lru_cache
def halves(terms):
    """The order of a pairwise sum: its parts, begin and end, and how many pairs of sums each of them completes."""

    def split(begin, end):
        if end - begin <= PART:
            return [[begin, end, 0]]
        half = (end - begin) // 2
        parts = split(begin, begin + half - half % 8) + split(begin + half - half % 8, end)
        parts[-1][2] += 1
        return parts

    return np.array(split(0, terms))


@compiled
def forward(kept, W, b, W2, b2):
    """The scores, array of shape [K, N]."""
    scores = np.empty(kept.dscores.shape)
    kept.units[:2], kept.units[2], kept.out[:] = W, b, W2.T
    for start in range(0, scores.shape[1], LANES):
        width = min(LANES, scores.shape[1] - start)
        kept.near[:, :width] = kept.points[:, start : start + width]
        lanes, level = width + -width % 8, 0
        for begin, end, pairs in kept.unit_parts:
            layer(kept.hidden, kept.units, begin, end, kept.near, lanes)
            for k in range(len(b2)):
                add_up(kept.sums[level, k], kept.out[k, begin:end], kept.hidden, kept.eighths, lanes)
            level = add_pairs(kept.sums, level, pairs)
        for k in range(len(b2)):
            for i in range(width):
                scores[k, start + i] = kept.sums[0, k, i] + b2[k]
    return scores


@compiled
def descend(kept, W, b, W2, b2, scores, y, learning_rate, l2):
    """One update of the weights, those that `forward` had, in place."""
    classes, db = len(scores), np.empty(LANES)
    score_gradient(scores, y, kept.dscores)
    for k in range(classes):
        db2 = -0.0
        for n in range(len(y)):
            db2 += kept.dscores[k, n]
            kept.across[n, k] = kept.dscores[k, n]
        b2[k] += -learning_rate * db2
    for start in range(0, len(b), LANES):
        width = min(LANES, len(b) - start)
        kept.near[:, :width] = kept.units[:, start : start + width]
        kept.far[:classes, :width] = kept.out[:, start : start + width]
        lanes, level = width + -width % 8, 0
        db[:] = -0.0
        for begin, end, pairs in kept.parts:
            layer(kept.hidden, kept.points, begin, end, kept.near, lanes)
            if classes <= SHORT:
                short_sums(kept.dhidden, kept.across[begin:end], kept.far, lanes)
            else:
                for n in range(begin, end):
                    add_up(kept.dhidden[n - begin], kept.across[n, :classes], kept.far, kept.eighths, lanes)
            for m in range(end - begin):
                for i in range(lanes):
                    kept.dhidden[m, i] *= 1.0 if kept.hidden[m, i] > 0 else 0.0
                    db[i] += kept.dhidden[m, i]
            for k in range(classes):
                add_up(kept.sums[level, k], kept.dscores[k, begin:end], kept.hidden, kept.eighths, lanes)
            for d in range(2):
                add_up(kept.sums[level, classes + d], kept.points[d, begin:end], kept.dhidden, kept.eighths, lanes)
            level = add_pairs(kept.sums, level, pairs)
        for i in range(width):
            h = start + i
            b[h] += -learning_rate * db[i]
            for d in range(2):
                W[d, h] += -learning_rate * (kept.sums[0, classes + d, i] + l2 * W[d, h])
            for k in range(classes):
                W2[h, k] += -learning_rate * (kept.sums[0, k, i] + l2 * W2[h, k])


@compiled
def layer(hidden, a, begin, end, b, lanes):
    """The hidden layer: rows for the points begin to end of a and columns for the units b, or turned round."""
    for n in range(begin, end):
        a0, a1, a2, m = a[0, n], a[1, n], a[2, n], n - begin
        for i in range(lanes):
            z = (a0 * b[0, i] + a1 * b[1, i]) + a2 * b[2, i]
            hidden[m, i] = 0.0 if z <= 0 else z  # ReLU


@compiled
def short_sums(total, c, a, lanes):
    """Row m of total becomes c[m, 0] a[0] + c[m, 1] a[1] + ..., one after another, four at a time."""
    for k in range(0, c.shape[1], 4):
        for m in range(len(c)):
            c0, c1, c2, c3 = c[m, k], c[m, k + 1], c[m, k + 2], c[m, k + 3]
            if k == 0:
                for i in range(lanes):
                    total[m, i] = ((c0 * a[0, i] + c1 * a[1, i]) + c2 * a[2, i]) + c3 * a[3, i]
            else:
                for i in range(lanes):
                    pair = (total[m, i] + c0 * a[k, i]) + c1 * a[k + 1, i]
                    total[m, i] = (pair + c2 * a[k + 2, i]) + c3 * a[k + 3, i]


@compiled
def add_up(total, c, a, eighths, lanes):
    """Total becomes c[0] a[0] + c[1] a[1] + ... in the order in which NumPy adds up to 128 terms."""
    whole = len(c) - len(c) % 8 if len(c) > SHORT else 0
    eighths[:] = -0.0
    for j in range(min(whole, 8)):
        add_products(eighths[j], c, a, j, whole, 8, lanes)
    for i in range(lanes):
        left = (eighths[0, i] + eighths[1, i]) + (eighths[2, i] + eighths[3, i])
        total[i] = left + ((eighths[4, i] + eighths[5, i]) + (eighths[6, i] + eighths[7, i]))
    add_products(total, c, a, whole, len(c), 1, lanes)


@compiled
def add_products(total, c, a, m, end, step, lanes):
    while m + 3 * step < end:
        m1, m2, m3 = m + step, m + 2 * step, m + 3 * step
        c0, c1, c2, c3 = c[m], c[m1], c[m2], c[m3]
        for i in range(lanes):
            total[i] = (((total[i] + c0 * a[m, i]) + c1 * a[m1, i]) + c2 * a[m2, i]) + c3 * a[m3, i]
        m += 4 * step
    while m < end:
        c0 = c[m]
        for i in range(lanes):
            total[i] += c0 * a[m, i]
        m += step


@compiled
def add_pairs(sums, level, pairs):
    for _ in range(pairs):
        level -= 1
        sums[level] += sums[level + 1]
    return level + 1


@compiled
def score_gradient(scores, y, dscores):
    top, total = scores[0], np.zeros(scores.shape[1])
    for row in scores[1:]:
        top = np.maximum(top, row)
    for k in range(len(scores)):
        for n in range(len(y)):
            dscores[k, n] = exp(scores[k, n] - top[n])
            total[n] += dscores[k, n]
    for k in range(len(scores)):
        for n in range(len(y)):
            dscores[k, n] = (dscores[k, n] / total[n] - (1.0 if y[n] == k else 0.0)) / len(y)


@compiled
def exp(x):
    """As `spirals.arithmetic.exp`, of a number that is not above zero."""
    x = -746.0 if x < -746.0 else x
    k = np.rint(x * (1.0 / (LN2_HIGH + LN2_LOW)))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = SERIES[0]
    for coefficient in SERIES[1:]:
        series = series * r + coefficient
    power = np.int32(k if k == k else 0.0)
    half = power // 2  # ldexp as two products, of which only the second can round
    return (series * r * r + r + 1.0) * POWERS[half + 538] * POWERS[power - half + 538]
