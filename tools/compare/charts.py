"""The charts of the page: SVG in colours that the page defines, for a light and a dark theme.

The axes of losses and iterations are those of the report's figures. Apart from these the charts are
drawn here: they lay experiments over one another and can be pointed at, where the report's show
each model on paper.

This module imports Matplotlib: a script calls `pictures.setup.isolate_matplotlib` before.
"""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from compare.experiments import Value
from compare.settings import Comparison, Setting, format_value
from pictures import figures
from pictures.figures import Axes
from portable.arithmetic import FloatArray

SIZE = (4.6, 3.2)  # inches
TEXT = "#010203"  # stands for the colour of the text
MUTED = "#808488"  # lines that only join or shade; seen on white and on black
FIRST_COLOR = 0x020000  # from here on colours stand for those of settings

MAX_TICKS = 8  # values that have a tick each
MIN_GAP = 0.09  # between two ticks, as a share of the axis, or they overprint
LOG_RATIO = 10  # from here on, values are better seen on a logarithmic axis
MAX_LABEL = 18  # characters of a tick's label
MAX_LABELS = 44  # characters of all labels side by side; more are written at a slant


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, and what it shows, for those who cannot see it."""

    svg: str
    description: str


@dataclass(frozen=True)
class Curve:
    """A training curve [points, 3], and the settings that have it."""

    settings: list[Setting]
    points: FloatArray


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


def accuracy_chart(comparison: Comparison, index: int) -> Chart:
    """Draw the test accuracy by a parameter: the median, and the whole range.

    Settings that differ in nothing else are joined by a line; those that no other one is joined
    with are left out, unless all are.

    Args:
        comparison: the settings.
        index: of the parameter, in their values.
    """
    name = comparison.names[index]
    lines = joined_settings(comparison.settings, index)
    shown = [setting for line in lines for setting in line]
    scale = choose_scale([setting.values[index] for setting in shown])
    palette = Palette(comparison.settings)

    def draw(ax: Axes) -> None:
        if comparison.best in shown and comparison.error is not None:
            best = comparison.best.accuracy
            ax.axhspan(best - comparison.error, best, color=MUTED, alpha=0.2, linewidth=0)
        for line in lines:
            positions = [scale.position[setting.values[index]] for setting in line]
            accuracies = [setting.accuracy for setting in line]
            ax.plot(positions, accuracies, color=MUTED, linewidth=0.7, zorder=1)
            for position, setting in zip(positions, line, strict=True):
                _draw_accuracy(ax, position, setting, palette)
        _label_values(ax, scale)
        words = f"{name} (not to scale)" if scale.kind == "even" else name
        ax.set(xlabel=words, ylabel="test accuracy")
        ax.yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:.4g}%")

    return Chart(
        _as_svg(draw, palette, f"accuracy by {name}"),
        f"Test accuracy by {name}, from {min(s.accuracy for s in shown):.1%} "
        f"to {max(s.accuracy for s in shown):.1%}; the table has the numbers",
    )


def _draw_accuracy(ax: Axes, position: float, setting: Setting, palette: "Palette") -> None:
    lowest, median, highest = setting.spread("test_accuracy")
    look = palette.look(setting)
    ax.plot([position, position], [lowest, highest], linewidth=1.5, **look)
    size = 7 if setting.best or setting.committed else 5
    ax.plot([position], [median], "o", markersize=size, **look)


def joined_settings(settings: Sequence[Setting], index: int) -> list[list[Setting]]:
    """Return groups of settings that differ in the parameter at this index alone.

    Groups of one are left out, unless all are.
    """
    lines: dict[tuple[Value, ...], list[Setting]] = {}
    for setting in settings:
        if setting.values[index] is not None:
            others = setting.values[:index] + setting.values[index + 1 :]
            lines.setdefault(others, []).append(setting)
    joined = [line for line in lines.values() if len(line) > 1]
    return joined or list(lines.values())


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
    if wide and _have_room([math.log(value) for value in numbers]):
        return Scale("log", positions, ticks)
    if _have_room(numbers):
        return Scale("linear", positions, ticks)
    return _even_scale(numbers)


def _have_room(positions: Sequence[float]) -> bool:
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


def _label_values(ax: Axes, scale: Scale) -> None:
    """Label the axis of a parameter."""
    if scale.kind == "log":
        ax.set_xscale("log")
    if scale.ticks is None:
        return
    ax.set_xticks(list(scale.ticks), list(scale.ticks.values()))
    ax.minorticks_off()
    if sum(map(len, scale.ticks.values())) > MAX_LABELS:
        ax.tick_params(axis="x", labelrotation=35)


def loss_chart(comparison: Comparison, curves: Sequence[Curve]) -> Chart:
    """Draw the loss by iteration."""
    palette = Palette(comparison.settings)

    def draw(ax: Axes) -> None:
        for curve in curves:
            marked = any(setting.best or setting.committed for setting in curve.settings)
            look = palette.look(*curve.settings)
            ax.plot(*curve.points[:, :2].T, linewidth=1.6 if marked else 0.9, **look)
        figures.scale_losses(ax, [curve.points[:, 1] for curve in curves])
        figures.scale_iterations(ax, max(curve.points[-1, 0] for curve in curves), 4)
        ax.set_xlabel("iteration")

    return Chart(_as_svg(draw, palette, "loss"), "Training loss by iteration, a curve a setting")


class Palette:
    """The colours of settings, as stand-ins that the page's own take the place of."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        self.stand_ins = {
            setting.key: f"#{FIRST_COLOR + number:06x}" for number, setting in enumerate(settings)
        }

    def look(self, *settings: Setting) -> dict[str, Any]:
        """Return how Matplotlib draws what belongs to settings, in the colour of the first."""
        chief = next((setting for setting in settings if setting.committed), settings[0])
        front = any(setting.best or setting.committed for setting in settings)
        keys = " ".join(setting.key for setting in settings)
        return {
            "color": self.stand_ins[chief.key],
            "zorder": 4 if front else 3,
            "gid": f"settings {keys}",
        }

    def resolve(self, svg: str) -> str:
        """Return an SVG with the page's colours."""
        svg = svg.replace(TEXT, "currentColor")
        for key, stand_in in self.stand_ins.items():
            svg = svg.replace(stand_in, f"var(--{key})")
        return svg


def _as_svg(draw: Callable[[Axes], None], palette: Palette, name: str) -> str:
    """Return what `draw` draws on axes, as SVG.

    Args:
        draw: draws; the gid "settings KEYS" becomes the attribute data-settings.
        palette: of the settings.
        name: of the chart, which makes the names of its parts its own.
    """
    coloured = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style = {
        **dict.fromkeys(coloured, TEXT),
        "grid.color": MUTED,
        "grid.alpha": 0.3,
        "font.size": 10,
        "svg.fonttype": "none",  # letters stay letters
        "svg.hashsalt": f"{name} {[*palette.stand_ins]}",
        "path.simplify_threshold": 0.3,  # points (1/72 inch)
    }
    with figures.rc_context({**figures.STYLE, **style}):
        figure = figures.Figure(figsize=SIZE, layout="constrained", facecolor="none")
        draw(figure.add_subplot(facecolor="none"))
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    svg = palette.resolve(content.getvalue())
    return _trim(svg)


def _trim(svg: str) -> str:
    """Return Matplotlib's SVG as a part of a page: no head, no size, no names that nothing uses."""
    start = svg.index("<svg ")
    tag_end = svg.index(">", start) + 1
    box = re.findall('viewBox="[^"]*"', svg[start:tag_end])[0]
    body = re.sub("(?s)<metadata>.*?</metadata>", "", svg[tag_end:])
    body = re.sub('<g id="settings ', '<g data-settings="', body)
    body = re.sub('<g id="[^"]*"', "<g", body)
    links = "http://www.w3.org/1999/xlink"
    return f'<svg {box} xmlns:xlink="{links}" aria-hidden="true">{body}'
