"""The charts of the page: SVG in colours that the page defines, for a light and a dark theme.

The axes of losses and iterations are drawn as in the report's figures. All else is drawn here:
these charts lay experiments over one another and can be pointed at, while the report's figures show
each model on paper.

This module imports Matplotlib: a script calls `isolate_matplotlib` before (matplotlib_setup.py).
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from compare.settings import Comparison, Setting
from pictures import figures
from pictures.figures import Axes
from pictures.scales import Value, choose_scale, label_values
from portable.arithmetic import FloatArray

SIZE = (4.6, 3.2)  # inches
TEXT = "#010203"  # stands for the colour of the text
MUTED = "#808488"  # lines that only join or shade; seen on white and on black
FIRST_COLOR = 0x020000  # this colour and the next ones stand for the settings' colours


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
        label_values(ax, scale, name)
        ax.set_ylabel("test accuracy")
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
    """The colours of settings: stand-ins, which `resolve` replaces with the page's own."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        self.stand_ins = {
            setting.key: f"#{FIRST_COLOR + index:06x}" for index, setting in enumerate(settings)
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
    """Return Matplotlib's SVG as a part of a page: without its head, size and unused names."""
    start = svg.index("<svg ")
    tag_end = svg.index(">", start) + 1
    box = re.findall('viewBox="[^"]*"', svg[start:tag_end])[0]
    body = re.sub("(?s)<metadata>.*?</metadata>", "", svg[tag_end:])
    body = re.sub('<g id="settings ', '<g data-settings="', body)
    body = re.sub('<g id="[^"]*"', "<g", body)
    links = "http://www.w3.org/1999/xlink"
    return f'<svg {box} xmlns:xlink="{links}" aria-hidden="true">{body}'
