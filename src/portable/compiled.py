"""The training of the two-layer network with its loops compiled by Numba.

The same bytes as `spirals.training.gradient_descent` with `spirals.models.MLP`, in a quarter of the
time. Every sum is taken in the order of `portable.arithmetic`; without `fastmath` the compiler may
neither reorder a sum nor contract a product and a sum to one operation.

It is fast for two reasons. It works on blocks that stay in the processor's cache: LANES points or
units side by side, whose sums are independent of each other. And a pass over a block adds up to
four terms, not one.

Call `portable.compiler.set_up_numba` before this module is imported.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numba
import numpy as np

from portable.arithmetic import (
    EXP_SERIES,
    LN2_HIGH,
    LN2_LOW,
    PAIRWISE_BLOCK,
    SHORT_SUM,
    FloatArray,
    IntArray,
    pairwise_blocks,
)
from portable.compiler import aligned_zeros

LANES = 128  # points or units side by side
SERIES = tuple(EXP_SERIES)
SMALLEST_POWER = -538
POWERS = np.ldexp(1.0, np.arange(SMALLEST_POWER, 2))  # of two

compiled: Callable[..., Any] = numba.njit(error_model="numpy", cache=True)


class Workspace(NamedTuple):
    """The arrays that are kept from one iteration to the next.

    A weighted sum takes four terms at once, so dscores and W2 have rows for a multiple of four
    classes. The rows beyond are -0.0 and 0.0: x + -0.0 * 0.0 is x.
    """

    point_inputs: FloatArray  # [3, N]: x1, x2, 1
    unit_inputs: FloatArray  # [3, H]: W[0], W[1], b
    dscores: FloatArray  # [K or more, N]
    unit_outputs: FloatArray  # [K or more, H]: the transposed W2
    block_inputs: FloatArray  # [3, LANES]: columns of point_inputs or unit_inputs
    block_outputs: FloatArray  # [K or more, LANES]: columns of unit_outputs
    hidden: FloatArray  # [PAIRWISE_BLOCK, LANES]
    dhidden: FloatArray  # [PAIRWISE_BLOCK, LANES]
    partial: FloatArray  # [9, LANES]: the parts of a pairwise sum, and their total
    sums: FloatArray  # [levels, K + 2, LANES]: sums of blocks that wait for their other half


def new_workspace(X: FloatArray, hidden_units: int, classes: int) -> Workspace:
    """Return the arrays for points X [N, 2]."""
    rows = classes + -classes % 4
    levels = 2 + max(len(X), hidden_units).bit_length()
    workspace = Workspace(
        point_inputs=aligned_zeros(3, len(X)),
        unit_inputs=aligned_zeros(3, hidden_units),
        dscores=aligned_zeros(rows, len(X)),
        unit_outputs=aligned_zeros(rows, hidden_units),
        block_inputs=aligned_zeros(3, LANES),
        block_outputs=aligned_zeros(rows, LANES),
        hidden=aligned_zeros(PAIRWISE_BLOCK, LANES),
        dhidden=aligned_zeros(PAIRWISE_BLOCK, LANES),
        partial=aligned_zeros(9, LANES),
        sums=aligned_zeros(levels, classes + 2, LANES),
    )
    workspace.point_inputs[:2] = X.T
    workspace.point_inputs[2] = 1.0
    workspace.dscores[classes:] = -0.0
    return workspace


def gradient_descent(
    weights: dict[str, FloatArray],
    X: FloatArray,
    y: IntArray,
    *,
    iterations: int,
    learning_rate: float,
    l2: float,
) -> Iterator[tuple[int, FloatArray]]:
    """Train the weights in place, as `spirals.training.gradient_descent` does.

    Args:
        weights: W [2, H], b [H], W2 [H, K], b2 [K].
        X: points, [N, 2].
        y: their classes, [N].
        iterations: updates.
        learning_rate: step along the gradient.
        l2: strength of the regularization.

    Yields:
        The iteration, and the scores [N, K] before its update; at the end those after the last.
    """
    W, b, W2, b2 = weights["W"], weights["b"], weights["W2"], weights["b2"]
    workspace = new_workspace(X, *W2.shape)
    unit_blocks = pairwise_blocks(len(W2))
    point_blocks = pairwise_blocks(len(X))
    scores = forward(workspace, unit_blocks, W, b, W2, b2)
    for iteration in range(iterations):
        yield iteration, scores.T
        update_weights(workspace, point_blocks, scores, y, W, b, W2, b2, learning_rate, l2)
        scores = forward(workspace, unit_blocks, W, b, W2, b2)
    yield iterations, scores.T


@compiled
def forward(
    workspace: Workspace,
    unit_blocks: IntArray,
    W: FloatArray,
    b: FloatArray,
    W2: FloatArray,
    b2: FloatArray,
) -> FloatArray:
    """Return the scores, [K, N]; the weights are copied into the workspace."""
    ws = workspace
    classes = len(b2)
    points = ws.point_inputs.shape[1]
    for h in range(len(b)):
        ws.unit_inputs[0, h] = W[0, h]
        ws.unit_inputs[1, h] = W[1, h]
        ws.unit_inputs[2, h] = b[h]
        for k in range(classes):
            ws.unit_outputs[k, h] = W2[h, k]
    scores = np.empty((classes, points))
    for start in range(0, points, LANES):
        width = load_block(ws.block_inputs, ws.point_inputs, start)
        lanes = whole_vectors(width)
        level = 0
        for begin, end, pairs in unit_blocks:
            hidden_layer(ws.hidden, ws.unit_inputs, begin, end, ws.block_inputs, lanes)
            for k in range(classes):
                outputs = ws.unit_outputs[k, begin:end]
                weighted_sum(ws.sums[level, k], outputs, ws.hidden, ws.partial, lanes)
            level = add_pairs(ws.sums, level, pairs, lanes)
        for k in range(classes):
            for i in range(width):
                scores[k, start + i] = ws.sums[0, k, i] + b2[k]
    return scores


@compiled
def update_weights(
    workspace: Workspace,
    point_blocks: IntArray,
    scores: FloatArray,
    y: IntArray,
    W: FloatArray,
    b: FloatArray,
    W2: FloatArray,
    b2: FloatArray,
    learning_rate: float,
    l2: float,
) -> None:
    """Take one step of gradient descent, in place, from the weights that `forward` had."""
    ws = workspace
    classes = len(b2)
    score_gradient(scores, y, ws.dscores)
    for k in range(classes):
        db2 = -0.0
        for n in range(ws.dscores.shape[1]):
            db2 += ws.dscores[k, n]
        b2[k] += -learning_rate * db2
    db = np.empty(LANES)
    for start in range(0, len(b), LANES):
        width = load_block(ws.block_inputs, ws.unit_inputs, start)
        load_block(ws.block_outputs, ws.unit_outputs, start)
        lanes = whole_vectors(width)
        db[:] = -0.0
        level = 0
        for begin, end, pairs in point_blocks:
            hidden_layer(ws.hidden, ws.point_inputs, begin, end, ws.block_inputs, lanes)
            hidden_gradient(ws, begin, end, lanes)
            for n in range(end - begin):
                for i in range(lanes):
                    db[i] += ws.dhidden[n, i]
            for k in range(classes):
                dscores = ws.dscores[k, begin:end]
                weighted_sum(ws.sums[level, k], dscores, ws.hidden, ws.partial, lanes)
            for d in range(2):
                coordinate = ws.point_inputs[d, begin:end]
                total = ws.sums[level, classes + d]
                weighted_sum(total, coordinate, ws.dhidden, ws.partial, lanes)
            level = add_pairs(ws.sums, level, pairs, lanes)
        for i in range(width):
            h = start + i
            b[h] += -learning_rate * db[i]
            for d in range(2):
                dW = ws.sums[0, classes + d, i] + l2 * W[d, h]
                W[d, h] += -learning_rate * dW
            for k in range(classes):
                dW2 = ws.sums[0, k, i] + l2 * W2[h, k]
                W2[h, k] += -learning_rate * dW2


@compiled
def load_block(block: FloatArray, rows: FloatArray, start: int) -> int:
    """Copy LANES columns of rows, or as many as there are; return how many."""
    width = min(LANES, rows.shape[1] - start)
    for k in range(len(rows)):
        for i in range(width):
            block[k, i] = rows[k, start + i]
    return width


@compiled
def whole_vectors(width: int) -> int:
    """Return how many lanes are worked on for so many columns: a multiple of eight."""
    return width + -width % 8


@compiled
def hidden_layer(
    hidden: FloatArray,
    inputs: FloatArray,
    begin: int,
    end: int,
    block: FloatArray,
    lanes: int,
) -> None:
    """Compute the hidden layer: a row for each of the inputs from begin to end, a column a lane.

    The rows are units and the columns points, or the other way round.
    """
    for n in range(begin, end):
        in0 = inputs[0, n]
        in1 = inputs[1, n]
        in2 = inputs[2, n]
        m = n - begin
        for i in range(lanes):
            total = (in0 * block[0, i] + in1 * block[1, i]) + in2 * block[2, i]
            hidden[m, i] = 0.0 if total <= 0 else total  # ReLU


@compiled
def hidden_gradient(workspace: Workspace, begin: int, end: int, lanes: int) -> None:
    """Compute dhidden for the points from begin to end: rows of points, columns of units."""
    ws = workspace
    rows = len(ws.dscores)
    classes = ws.sums.shape[1] - 2
    column = np.empty(classes)
    for n in range(begin, end):
        m = n - begin
        if rows == 4:
            d0 = ws.dscores[0, n]
            d1 = ws.dscores[1, n]
            d2 = ws.dscores[2, n]
            d3 = ws.dscores[3, n]
            out = ws.block_outputs
            for i in range(lanes):
                pair = d0 * out[0, i] + d1 * out[1, i]
                total = (pair + d2 * out[2, i]) + d3 * out[3, i]
                ws.dhidden[m, i] = total
        else:
            for k in range(classes):
                column[k] = ws.dscores[k, n]
            weighted_sum(ws.dhidden[m], column, ws.block_outputs, ws.partial, lanes)
        for i in range(lanes):
            ws.dhidden[m, i] *= 1.0 if ws.hidden[m, i] > 0 else 0.0  # the ReLU's gradient


@compiled
def weighted_sum(
    total: FloatArray, c: FloatArray, a: FloatArray, partial: FloatArray, lanes: int
) -> None:
    """Set total to c[0] a[0] + c[1] a[1] + ..., in the order of NumPy's sum along a row.

    Eight interleaved sums of the terms up to a multiple of eight, and then what is left over.
    """
    whole = len(c) - len(c) % 8 if len(c) > SHORT_SUM else 0
    for j in range(9):
        if j < 8:
            m = j
            end = whole
            step = 8
        else:
            m = whole
            end = len(c)
            step = 1
        for i in range(lanes):
            partial[j, i] = -0.0
        if j == 8 and whole:
            for i in range(lanes):
                left = (partial[0, i] + partial[1, i]) + (partial[2, i] + partial[3, i])
                right = (partial[4, i] + partial[5, i]) + (partial[6, i] + partial[7, i])
                partial[8, i] = left + right
        while m + 3 * step < end:
            m1 = m + step
            m2 = m + 2 * step
            m3 = m + 3 * step
            c0 = c[m]
            c1 = c[m1]
            c2 = c[m2]
            c3 = c[m3]
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
def add_pairs(sums: FloatArray, level: int, pairs: int, lanes: int) -> int:
    """Add the last two sums so many times; return the level of the next one."""
    for _ in range(pairs):
        level -= 1
        for k in range(sums.shape[1]):
            for i in range(lanes):
                sums[level, k, i] += sums[level + 1, k, i]
    return level + 1


@compiled
def score_gradient(scores: FloatArray, y: IntArray, dscores: FloatArray) -> None:
    """Set dscores [K or more, N] to the gradient of the data loss on the scores [K, N]."""
    points = len(y)
    top = np.empty(points)
    total = np.zeros(points)
    for k in range(len(scores)):
        for n in range(points):
            top[n] = scores[k, n] if k == 0 else max(top[n], scores[k, n])
    for k in range(len(scores)):
        for n in range(points):
            dscores[k, n] = exp(scores[k, n] - top[n])
            total[n] += dscores[k, n]
    for k in range(len(scores)):
        for n in range(points):
            target = 1.0 if y[n] == k else 0.0
            dscores[k, n] = (dscores[k, n] / total[n] - target) / points


@compiled
def exp(x: float) -> float:
    """Return `portable.arithmetic.exp` of a number that is not above zero."""
    x = -746.0 if x < -746.0 else x
    k = np.rint(x * (1.0 / (LN2_HIGH + LN2_LOW)))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = SERIES[0]
    for coefficient in SERIES[1:]:
        series = series * r + coefficient
    power = np.int32(k if k == k else 0.0)
    half = power // 2  # ldexp as two products, of which only the second can round
    result = series * r * r + r + 1.0
    return result * POWERS[half - SMALLEST_POWER] * POWERS[power - half - SMALLEST_POWER]
