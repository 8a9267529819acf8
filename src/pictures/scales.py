"""The axis of a parameter: where its values lie, so that no two ticks overprint.

Nothing here needs Matplotlib.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

# A parameter as it is compared: a number, or else its text; None where there is no such parameter.
Value = int | float | str | None

MAX_TICKS = 8  # values that have a tick each
MIN_GAP = 0.09  # between two ticks, as a share of the axis, or they overprint
LOG_RATIO = 10  # from here on, values are better seen on a logarithmic axis
MAX_LABEL = 18  # characters of a tick's label
MAX_LABELS = 44  # characters of all labels side by side; more are written at a slant


@dataclass(frozen=True)
class Scale:
    """Where the values of a parameter lie on an axis.

    Attributes:
        kind: "linear", "log", or "even": one after another, at equal distances.
        position: of each value.
        ticks: labels by position; None where Matplotlib finds better ones.
    """

    kind: str
    position: dict[Value, float]
    ticks: dict[float, str] | None


def choose_scale(values: Sequence[Value]) -> Scale:
    """Return an axis for these values on which no two ticks overprint."""
    distinct = list(dict.fromkeys(values))
    numbers = sorted(value for value in distinct if isinstance(value, int | float))
    if len(numbers) < len(distinct):
        return _even_scale(distinct)
    positions: dict[Value, float] = {value: float(value) for value in numbers}
    wide = numbers[0] > 0 and numbers[-1] / numbers[0] >= LOG_RATIO
    if len(numbers) > MAX_TICKS:
        return Scale("log" if wide else "linear", positions, None)
    ticks = {float(value): format_value(value) for value in numbers}
    if wide and _lie_apart([math.log(value) for value in numbers]):
        return Scale("log", positions, ticks)
    if _lie_apart(numbers):
        return Scale("linear", positions, ticks)
    return _even_scale(numbers)


def _lie_apart(positions: Sequence[float]) -> bool:
    """Return whether ticks at these positions, in order, lie apart."""
    width = positions[-1] - positions[0]
    return all(after - before >= MIN_GAP * width for before, after in pairwise(positions))


def _even_scale(values: Sequence[Value]) -> Scale:
    """Return an axis with the values one after another, in this order."""
    position = {value: float(place) for place, value in enumerate(values)}
    step = -(-len(values) // (2 * MAX_TICKS))  # not every one has a label, of very many
    ticks = {}
    for value, place in position.items():
        if place % step == 0:
            ticks[place] = _shorten(format_value(value))
    return Scale("even", position, ticks)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def label_values(ax: Any, scale: Scale, name: str) -> None:
    """Label the axis of a parameter.

    Args:
        ax: of Matplotlib.
        scale: of the parameter.
        name: of the parameter.
    """
    if name and scale.kind == "even":
        name += " (not to scale)"
    ax.set_xlabel(name)
    if scale.kind == "log":
        ax.set_xscale("log")
    if scale.ticks is None:
        return
    ax.set_xticks(list(scale.ticks), list(scale.ticks.values()))
    ax.minorticks_off()
    if sum(map(len, scale.ticks.values())) > MAX_LABELS:
        ax.tick_params(axis="x", labelrotation=35)


def format_value(value: Value) -> str:
    """Return a parameter as people read it."""
    if value is None:
        return "missing"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
