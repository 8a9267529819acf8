"""The net with its loops compiled by Numba: the bytes of `spirals.models.MLP` in a quarter of the time.

Every sum is taken in the order of `portable.arithmetic`. Without `fastmath` the compiler may
neither reorder a sum nor contract a product and a sum to one operation. It is fast because it
works on blocks that stay in the cache, LANES points or units side by side, whose sums are
independent of each other, and because a pass over them adds up to four terms, not one.
"""

import numpy as np

from portable.arithmetic import EXP_SERIES, LN2_HIGH, LN2_LOW, PART, SHORT, halves
from portable.compiler import compiled, zeros
from spirals.models import MLP

LANES = 128
SERIES = tuple(map(float, EXP_SERIES))
POWERS = np.ldexp(1.0, np.arange(-538, 2))  # of two


class CompiledMLP(MLP):
    """`spirals.models.MLP`, for a training that is long enough to pay for the compilation."""

    @staticmethod
    def gradient_descent(weights, X, y, params):
        """As `spirals.training.gradient_descent`, for points with two coordinates."""
        W, b, W2, b2 = (weights[name] for name in ("W", "b", "W2", "b2"))
        kept, unit_parts, point_parts = buffers(X, *W2.shape), halves(len(W2)), halves(len(X))
        for iteration in range(params.iterations):
            scores = forward(kept, unit_parts, W, b, W2, b2)
            yield iteration, scores.T
            descend(kept, point_parts, W, b, W2, b2, scores, y, params.learning_rate, params.l2)
        yield params.iterations, forward(kept, unit_parts, W, b, W2, b2).T


def buffers(X, hidden, classes):
    """What is kept from one iteration to the next.

    Rows of points: the gradient on the scores, up to three of -0.0, x, y, 1. Rows of units: W2 turned
    round, up to three of 0.0, W, b. So points times units is a hidden layer; x + -0.0 times 0.0 is x.
    """
    points, units, block = (
        zeros(classes + -classes % 4 + 3, length) for length in (len(X), hidden, LANES)
    )
    points[classes:-3], points[-3:-1], points[-1] = -0.0, X.T, 1.0
    sums = zeros(2 + max(len(X), hidden).bit_length(), classes + 2, LANES)
    return points, units, block, zeros(PART, LANES), zeros(PART, LANES), zeros(9, LANES), sums


@compiled
def forward(kept, parts, W, b, W2, b2):
    """The scores, array of shape [K, N]."""
    points, units, block, hidden, _, partial, sums = kept
    scores = np.empty((len(b2), points.shape[1]))
    for h in range(len(b)):
        units[-3, h], units[-2, h], units[-1, h] = W[0, h], W[1, h], b[h]
        for k in range(len(b2)):
            units[k, h] = W2[h, k]
    for start in range(0, points.shape[1], LANES):
        width, lanes = cut(block, points, start)
        level = 0
        for begin, end, pairs in parts:
            layer(hidden, units, begin, end, block, lanes)
            for k in range(len(b2)):
                add_up(sums[level, k], units[k, begin:end], hidden, partial, lanes)
            level = add_pairs(sums, level, pairs, lanes)
        for k in range(len(b2)):
            for i in range(width):
                scores[k, start + i] = sums[0, k, i] + b2[k]
    return scores


@compiled
def descend(kept, parts, W, b, W2, b2, scores, y, learning_rate, l2):
    """One update of the weights, those that `forward` had, in place."""
    points, units, block, hidden, dhidden, partial, sums = kept
    classes, db, column = len(b2), np.empty(LANES), np.empty(len(b2))
    score_gradient(scores, y, points)
    for k in range(classes):
        db2 = -0.0
        for n in range(len(y)):
            db2 += points[k, n]
        b2[k] += -learning_rate * db2
    for start in range(0, len(b), LANES):
        width, lanes = cut(block, units, start)
        db[:] = -0.0
        level = 0
        for begin, end, pairs in parts:
            layer(hidden, points, begin, end, block, lanes)
            for n in range(begin, end):
                m = n - begin
                if classes <= 4:
                    d0, d1, d2, d3 = points[0, n], points[1, n], points[2, n], points[3, n]
                    for i in range(lanes):
                        total = (
                            (d0 * block[0, i] + d1 * block[1, i]) + d2 * block[2, i]
                        ) + d3 * block[3, i]
                        dhidden[m, i] = total
                else:
                    for k in range(classes):
                        column[k] = points[k, n]
                    add_up(dhidden[m], column, block, partial, lanes)
                for i in range(lanes):
                    dhidden[m, i] *= 1.0 if hidden[m, i] > 0 else 0.0
                    db[i] += dhidden[m, i]
            for k in range(classes + 2):
                row, a = (k, hidden) if k < classes else (len(points) - 3 + k - classes, dhidden)
                add_up(sums[level, k], points[row, begin:end], a, partial, lanes)
            level = add_pairs(sums, level, pairs, lanes)
        for i in range(width):
            h = start + i
            b[h] += -learning_rate * db[i]
            for d in range(2):
                W[d, h] += -learning_rate * (sums[0, classes + d, i] + l2 * W[d, h])
            for k in range(classes):
                W2[h, k] += -learning_rate * (sums[0, k, i] + l2 * W2[h, k])


@compiled
def cut(block, rows, start):
    """Copies LANES columns, or as many as there are; returns how many, and how many are worked on: whole vectors."""
    width = min(LANES, rows.shape[1] - start)
    for k in range(len(rows)):
        for i in range(width):
            block[k, i] = rows[k, start + i]
    return width, width + -width % 8


@compiled
def layer(hidden, rows, begin, end, block, lanes):
    """The hidden layer: rows for the points begin to end and columns for a block of units, or turned round."""
    for n in range(begin, end):
        r0, r1, r2, m = rows[-3, n], rows[-2, n], rows[-1, n], n - begin
        for i in range(lanes):
            total = (r0 * block[-3, i] + r1 * block[-2, i]) + r2 * block[-1, i]
            hidden[m, i] = 0.0 if total <= 0 else total  # ReLU


@compiled
def add_up(total, c, a, partial, lanes):
    """Total becomes c[0] a[0] + c[1] a[1] + ... in the order in which NumPy adds: eight sums, and what is left over."""
    whole = len(c) - len(c) % 8 if len(c) > SHORT else 0
    for j in range(9):
        m, end, step = (j, whole, 8) if j < 8 else (whole, len(c), 1)
        for i in range(lanes):
            partial[j, i] = -0.0
        if j == 8 and whole:
            for i in range(lanes):
                left = (partial[0, i] + partial[1, i]) + (partial[2, i] + partial[3, i])
                partial[8, i] = left + (
                    (partial[4, i] + partial[5, i]) + (partial[6, i] + partial[7, i])
                )
        while m + 3 * step < end:
            m1, m2, m3 = m + step, m + 2 * step, m + 3 * step
            c0, c1, c2, c3 = c[m], c[m1], c[m2], c[m3]
            for i in range(lanes):
                pair = (partial[j, i] + c0 * a[m, i]) + c1 * a[m1, i]
                partial[j, i] = (pair + c2 * a[m2, i]) + c3 * a[m3, i]
            m += 4 * step
        while m < end:
            for i in range(lanes):
                partial[j, i] += c[m] * a[m, i]
            m += step
    for i in range(lanes):
        total[i] = partial[8, i]


@compiled
def add_pairs(sums, level, pairs, lanes):
    for _ in range(pairs):
        level -= 1
        for k in range(sums.shape[1]):
            for i in range(lanes):
                sums[level, k, i] += sums[level + 1, k, i]
    return level + 1


@compiled
def score_gradient(scores, y, dscores):
    top, total = np.empty(len(y)), np.zeros(len(y))
    for k in range(len(scores)):
        for n in range(len(y)):
            top[n] = scores[k, n] if k == 0 else max(top[n], scores[k, n])
    for k in range(len(scores)):
        for n in range(len(y)):
            dscores[k, n] = exp(scores[k, n] - top[n])
            total[n] += dscores[k, n]
    for k in range(len(scores)):
        for n in range(len(y)):
            dscores[k, n] = (dscores[k, n] / total[n] - (1.0 if y[n] == k else 0.0)) / len(y)


@compiled
def exp(x):
    """As `portable.arithmetic.exp`, of a number that is not above zero."""
    x = -746.0 if x < -746.0 else x
    k = np.rint(x * (1.0 / (LN2_HIGH + LN2_LOW)))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = SERIES[0]
    for coefficient in SERIES[1:]:
        series = series * r + coefficient
    power = np.int32(k if k == k else 0.0)
    half = power // 2  # ldexp as two products, of which only the second can round
    return (series * r * r + r + 1.0) * POWERS[half + 538] * POWERS[power - half + 538]
