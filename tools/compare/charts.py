"""The charts of the page: SVG in the colour of the text around it, so that they suit a light page and a dark one."""

import io
import re

from compare.settings import PALE
from pictures import figures

INK = "#010203"  # stands for the colour of the text
STYLE = {
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
    "grid.color": PALE,
    "grid.alpha": 0.3,
    "font.size": 10,
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "spirals",
    "path.simplify_threshold": 0.3,  # points (1/72 inch)
}


def chart(draw):
    """SVG of what `draw` draws on Matplotlib's axes. Its gid of-KEY becomes the attribute data-of=KEY."""
    with figures.rc_context({**figures.STYLE, **STYLE}):
        figure = figures.Figure(figsize=(4.6, 3.2), layout="constrained", facecolor="none")
        draw(figure.add_subplot(facecolor="none"))
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    _, tag, rest = re.split(
        "(<svg [^>]*>)", content.getvalue().replace(INK, "currentColor"), maxsplit=1
    )
    box = re.search('viewBox="[^"]*"', tag)[0]
    rest = re.sub('id="of-', 'data-of="', re.sub("(?s)<metadata>.*?</metadata>", "", rest))
    return f'<svg {box} xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'


def accuracy_chart(settings, index, name):
    """Accuracy on fresh points by the parameter at `index` of the settings' values: the median, and the whole range.

    Settings that differ in nothing else are joined by a line; those that no other one is joined with are left out.
    """
    lines = {}
    for setting in settings:
        if setting.values[index] is not None:
            lines.setdefault(setting.values[:index] + setting.values[index + 1 :], []).append(
                setting
            )
    lines = [line for line in lines.values() if len(line) > 1] or list(lines.values())

    def draw(ax):
        for line in lines:
            values = [setting.values[index] for setting in line]
            least, middle, most = zip(
                *(setting.spread("test_accuracy") for setting in line), strict=True
            )
            ax.plot(values, middle, color=PALE, linewidth=0.7, zorder=1)
            for value, low, right, high, setting in zip(
                values, least, middle, most, line, strict=True
            ):
                ax.plot([value, value], [low, high], linewidth=1.5, **look(setting))
                ax.plot(
                    [value], [right], "o", markersize=7 if setting.marked else 5, **look(setting)
                )
        values = sorted({setting.values[index] for line in lines for setting in line})
        if not isinstance(values[0], str):
            if values[0] > 0 and values[-1] / values[0] >= 10:
                ax.set_xscale("log")
            if len(values) <= 8:
                ax.set_xticks(values, [f"{value:g}" for value in values])
                ax.minorticks_off()
        ax.yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:.4g}%")
        ax.set(xlabel=name, ylabel="fresh points right")

    return chart(draw)


def loss_chart(curves):
    """Loss by iteration; `curves` are pairs of a setting and an array of shape [points, 3]."""

    def draw(ax):
        for setting, curve in curves:
            ax.plot(
                curve[:, 0], curve[:, 1], linewidth=1.6 if setting.marked else 0.8, **look(setting)
            )
        figures.scale_losses(ax, [curve[:, 1] for _, curve in curves])
        figures.along(ax, max(curve[-1, 0] for _, curve in curves), 4)
        ax.set_xlabel("iteration")

    return chart(draw)


def look(setting):
    """How Matplotlib draws a setting."""
    alpha = 0.6 if setting.color == PALE else 1
    return {
        "color": setting.color,
        "alpha": alpha,
        "zorder": 3 + setting.marked,
        "gid": f"of-{setting.key}",
    }
