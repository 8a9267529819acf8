"""The net with its loops compiled by Numba: the bytes of `spirals.models.MLP` in less than half the time.

Every sum is taken in the order of `spirals.arithmetic`. Without `fastmath` the compiler may
neither reorder a sum nor contract a product and a sum to one operation.
"""

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import llvmlite.binding
import numba
import numpy as np
from numba.core.caching import UserWideCacheLocator

from spirals import arithmetic
from spirals.arithmetic import EXP_SERIES, LN2_HIGH, LN2_LOW, PART, SHORT, sum_points
from spirals.models import MLP


class ByContent(UserWideCacheLocator):
    """Where Numba keeps what it compiled: for the user, by content, so that all checkouts of an experiment share it."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file):
        content = [Path(file).read_bytes() for file in (py_file, arithmetic.__file__)]
        content.append(llvmlite.binding.get_host_cpu_name().encode())  # a home may be shared by different machines
        return "spirals-" + hashlib.sha256(b"".join(content)).hexdigest()[:16]


numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.ByContent"
compiled = numba.njit(error_model="numpy", cache=True)
SERIES = tuple(map(float, EXP_SERIES))


class CompiledMLP(MLP):
    """`spirals.models.MLP`, for a training that is long enough to pay for the compilation."""

    @staticmethod
    def forward(weights, X):
        hidden = sum_products(X.T, weights["W"])  # [H, N]
        hidden += weights["b"][:, None]
        np.maximum(0, hidden, out=hidden)
        return sum_products(hidden, weights["W2"]).T + weights["b2"], hidden.T

    @staticmethod
    def score_gradient(scores, y):
        return score_gradient(scores, y)

    @staticmethod
    def backward(weights, X, _, dscores):
        """As `MLP.backward`. The hidden layer is computed again, which takes less time than to turn it round."""
        hidden = sum_products(weights["W"], X.T)  # [N, H]
        dhidden = sum_products(weights["W2"].T, dscores.T)  # [N, H]
        db = rectify(hidden, weights["b"], dhidden)
        dW2 = sum_products(hidden, dscores).T
        return {"W": sum_products(dhidden, X), "b": db, "W2": dW2, "b2": sum_points(dscores)}


def sum_products(a, b):
    """The sums over m of a[m, n] b[m, k], array of shape [K, N]."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return short_sums(a, b) if len(a) <= SHORT else pairwise_sums(a, b, halves(len(a)))


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
def short_sums(a, b):
    total = np.empty((b.shape[1], a.shape[1]))
    for k in range(total.shape[0]):
        for n in range(total.shape[1]):
            total[k, n] = b[0, k] * a[0, n]
        for m in range(1, b.shape[0]):
            for n in range(total.shape[1]):
                total[k, n] += b[m, k] * a[m, n]
    return total


@compiled
def pairwise_sums(a, b, parts):
    total = np.empty((b.shape[1], a.shape[1]))
    p, sums = np.empty((8, a.shape[1])), np.empty((64, a.shape[1]))
    for k in range(total.shape[0]):
        level = 0
        for i in range(parts.shape[0]):
            begin, end = parts[i, 0], parts[i, 1]
            whole = end - (end - begin) % 8
            for j in range(8):
                for n in range(total.shape[1]):
                    p[j, n] = b[begin + j, k] * a[begin + j, n]
                for m in range(begin + 8 + j, whole, 8):
                    for n in range(total.shape[1]):
                        p[j, n] += b[m, k] * a[m, n]
            for n in range(total.shape[1]):
                left = (p[0, n] + p[1, n]) + (p[2, n] + p[3, n])
                sums[level, n] = left + ((p[4, n] + p[5, n]) + (p[6, n] + p[7, n]))
            for m in range(whole, end):
                for n in range(total.shape[1]):
                    sums[level, n] += b[m, k] * a[m, n]
            for _ in range(parts[i, 2]):
                level -= 1
                for n in range(total.shape[1]):
                    sums[level, n] += sums[level + 1, n]
            level += 1
        for n in range(total.shape[1]):
            total[k, n] = sums[0, n]
    return total


@compiled
def rectify(hidden, b, dhidden):
    """Adds b to the hidden layer, puts it and its gradient through the ReLU, in place; the gradient on b."""
    db = np.zeros(len(b))
    for n in range(hidden.shape[0]):
        for h in range(hidden.shape[1]):
            z = hidden[n, h] + b[h]
            hidden[n, h] = 0.0 if z <= 0 else z
            dhidden[n, h] *= 1.0 if z > 0 else 0.0
            db[h] += dhidden[n, h]
    return db


@compiled
def score_gradient(scores, y):
    dscores = np.empty(scores.shape)
    points, classes = scores.shape
    for n in range(points):
        top, total = scores[n, 0], 0.0
        for k in range(1, classes):
            top = max(top, scores[n, k])
        for k in range(classes):
            dscores[n, k] = exp(scores[n, k] - top)
            total += dscores[n, k]
        for k in range(classes):
            dscores[n, k] /= total
        dscores[n, y[n]] -= 1
        for k in range(classes):
            dscores[n, k] /= points
    return dscores


@compiled
def exp(x):
    """As `spirals.arithmetic.exp`, of a number that is not above zero."""
    x = max(x, -746.0)
    k = np.rint(x * (1.0 / (LN2_HIGH + LN2_LOW)))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = SERIES[0]
    for coefficient in SERIES[1:]:
        series = series * r + coefficient
    return math.ldexp(series * r * r + r + 1.0, int(k))
