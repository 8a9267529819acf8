"""The figures, in one style, from numbers that are the same everywhere, without date or version.

This module imports Matplotlib: a script calls `isolate_matplotlib` before (matplotlib_setup.py).
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context as rc_context
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes as Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from PIL import Image

from bridge.atomic import atomic_write
from pictures.palette import (
    LARGEST,
    MARKERS,
    PALE,
    TINT,
    class_colors,
    half_width,
    marker_size,
    thinning,
)
from pictures.palette import PALETTE as PALETTE
from pipeline.files import file_errors
from portable.arithmetic import FloatArray, IntArray, exp, log
from spirals.data import NAME
from spirals.models import MODELS, Classifier, softmax

# In the order of MODELS; the colours of classes 0 and 1 come late.
LINE_COLORS = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#666666"]
MODEL_COLORS = dict(zip(MODELS, cycle(LINE_COLORS)))

PANEL = 5.2  # inches: width of one part of a figure
TITLE_SIZE = 11  # points: of the title of a loss curve ...
TITLE_CHARS = 58  # ... if it has no more characters; a longer one is smaller, to fit its panel
ZOOM = 0.15  # share of a curve that is drawn again, larger ...
ZOOM_FROM = 500  # ... if it has so many points
INSET = (0.32, 0.4, 0.66, 0.5)  # where: left, bottom, width, height, as shares of the panel
INSET_TICKS = 0.1  # room for its ticks on the left and below, as a share of the panel
SMALLEST_LOSS = 1e-16  # on a logarithmic scale, smaller ones are as good as zero
# Numbers of the widest layer that are computed at once, 2 MiB: more leave the processor's cache,
# and with fewer NumPy is called too often.
BLOCK_NUMBERS = 2**18

# All settings, whatever the user or another library has set; to set a backend, Matplotlib would
# look for one.
_SETTINGS = rc_params_from_file(Path(__file__).with_name("matplotlibrc"), use_default_template=True)
STYLE = {key: value for key, value in _SETTINGS.items() if key != "backend"}


def grid_probabilities(model: Classifier, lim: float, cells: int) -> FloatArray:
    """Return the class probabilities on a square grid from -lim to lim.

    Returns:
        [K, cells, cells], row after row from the bottom.
    """
    axis = np.linspace(-lim, lim, cells)
    widest = max(weight.shape[-1] for weight in model.weights.values())
    rows = max(1, BLOCK_NUMBERS // (cells * widest))
    blocks = []
    for start in range(0, cells, rows):
        x2, x1 = np.meshgrid(axis[start : start + rows], axis, indexing="ij")
        points = np.stack([x1.ravel(), x2.ravel()], axis=1)
        scores, _ = model.forward(points)
        blocks.append(softmax(scores).T.reshape(-1, *x1.shape))
    return np.concatenate(blocks, axis=1)


def class_margins(probabilities: FloatArray) -> FloatArray:
    """Return by how much each class is more probable than the best other one.

    Args:
        probabilities: of the classes, [K, ...].

    Returns:
        [K, ...]: above 0 where the class is predicted, 0 on a decision boundary.
    """
    best = np.argmax(probabilities, axis=0)
    highest = np.max(probabilities, axis=0)
    second = np.full_like(highest, -1.0)
    for k, probability in enumerate(probabilities):
        second = np.maximum(second, np.where(best == k, -1.0, probability))
    margins = np.empty_like(probabilities)
    for k, probability in enumerate(probabilities):
        margins[k] = probability - np.where(best == k, second, highest)
    return margins


def shade_regions(predicted: IntArray, margin: FloatArray) -> FloatArray:
    """Return the RGB colours [..., 3] of regions.

    Args:
        predicted: the predicted classes, [...].
        margin: their margins, [...]; a region is pale where it is 0, and has its full colour at 1.
    """
    ink = 1 - class_colors(int(predicted.max()) + 1)
    strength = PALE + (TINT - PALE) * margin
    return 1 - ink[predicted] * strength[..., None]


def make_panels(
    count: int,
    height: float,
    *,
    top: float,
    bottom: float,
    left: float = 0.7,
    right: float = 0.12,
    gap: float = 0.82,
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes side by side.

    The margins in inches are given: to find them, Matplotlib would draw twice.
    """
    width = PANEL * count
    figure = Figure(figsize=(width, height))
    side = (width - left - right - gap * (count - 1)) / count
    figure.subplots_adjust(
        left=left / width,
        bottom=bottom / height,
        right=1 - right / width,
        top=1 - top / height,
        wspace=gap / side,
    )
    axes = figure.subplots(1, count, squeeze=False, sharey=share_y)
    return figure, list(axes[0])


def render_figure(figure: Figure, dpi: float) -> Image.Image:
    """Return the figure as an image with four channels."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]


def write_image(image: Image.Image, path: Path, dpi: float) -> None:
    """Write an image as a PNG."""
    with atomic_write(path) as temporary:
        # The usual level, 6, takes twice the time for a sixth of the bytes.
        image.save(temporary, dpi=(dpi, dpi), compress_level=3)


def save(figure: Figure, path: Path, dpi: float) -> None:
    """Write a figure as a PNG."""
    write_image(render_figure(figure, dpi).convert("RGB"), path, dpi)


def join_pictures(paths: Iterable[Path], path: Path, dpi: float) -> None:
    """Write pictures of one height side by side, as one."""
    images = []
    for picture in paths:
        with file_errors(picture), Image.open(picture) as opened:
            images.append(opened.convert("RGB"))
    width = sum(image.width for image in images)
    height = max(image.height for image in images)
    joined = Image.new("RGB", (width, height), "white")
    left = 0
    for image in images:
        joined.paste(image, (left, 0))
        left += image.width
    write_image(joined, path, dpi)


def draw_points(ax: Axes, X: FloatArray, y: IntArray, predicted: IntArray) -> None:
    """Draw points [N, 2] by class [N]; misclassified ones have a black edge."""
    step = thinning(len(X))
    size = marker_size(len(X))
    edge = size / LARGEST
    rgb = class_colors(int(y.max()) + 1)
    for k, color in enumerate(rgb):
        shown = np.flatnonzero(y == k)[::step]
        missed = predicted[shown] != k
        style = {"s": size, "marker": MARKERS[k % len(MARKERS)], "color": color}
        label = f"class {k}" if len(rgb) <= len(PALETTE) else None
        right = X[shown[~missed]]
        wrong = X[shown[missed]]
        ax.scatter(*right.T, **style, edgecolors="white", linewidths=0.5 * edge, label=label)
        ax.scatter(*wrong.T, **style, edgecolors="black", linewidths=0.3 + 0.9 * edge, zorder=3)
    if (predicted != y).any():
        style = {"color": "white", "edgecolors": "black", "linewidths": 1.2}
        ax.scatter([], [], s=LARGEST, **style, label="misclassified")
    lim = half_width(X)
    ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", xlim=(-lim, lim), ylim=(-lim, lim))
    ax.locator_params(nbins=4)  # inside of the limits, where the regions end


def draw_data(path: Path, X: FloatArray, y: IntArray, dpi: float) -> None:
    """Draw the points of a data set."""
    title = f"{NAME}: {len(X):,} points in {int(y.max()) + 1} classes"
    draw_boundary(path, X, y, title=title, predicted=y, dpi=dpi)


def draw_boundary(
    path: Path,
    X: FloatArray,
    y: IntArray,
    *,
    title: str,
    predicted: IntArray,
    probabilities: FloatArray | None = None,
    dpi: float,
) -> None:
    """Draw points on the regions of the classes.

    Args:
        path: of the picture.
        X: points, [N, 2].
        y: their classes, [N].
        title: above the picture.
        predicted: the classes that a model predicts for the points, [N].
        probabilities: what it predicts on a grid, see `grid_probabilities`; without it there are no
            regions.
        dpi: dots per inch.
    """
    step = thinning(len(X))
    if step > 1:
        title += f"\n(one point in {step:,} is drawn)"
    classes = int(y.max()) + 1
    # In rows of four; beside the classes there may be "misclassified".
    legend_rows = classes // 4 + 1 if classes <= len(PALETTE) else 1
    with rc_context({**STYLE, "axes.grid": False}):
        figure, (ax,) = make_panels(
            1, 5.6, top=0.36 + 0.2 * title.count("\n"), bottom=0.6 + 0.25 * legend_rows
        )
        if probabilities is not None:
            draw_regions(ax, probabilities, half_width(X))
        draw_points(ax, X, y, predicted)
        ax.set_title(title)
        figure.legend(
            *ax.get_legend_handles_labels(),
            loc="lower center",
            bbox_to_anchor=(0.5, 0),
            ncols=4,
            handletextpad=0.3,
            columnspacing=1.5,
        )
        save(figure, path, dpi)


def draw_regions(ax: Axes, probabilities: FloatArray, lim: float) -> None:
    """Draw the regions of the classes, and the decision boundaries between them."""
    margins = class_margins(probabilities)
    colors = shade_regions(np.argmax(margins, axis=0), np.max(margins, axis=0))
    extent = (-lim, lim, -lim, lim)
    ax.imshow(colors, origin="lower", extent=extent, interpolation="nearest")
    axis = np.linspace(-lim, lim, len(colors))
    for margin in margins:
        if margin.min() < 0 < margin.max():
            ax.contour(axis, axis, margin, levels=[0.0], colors="#333333", linewidths=1.0)


def draw_losses(path: Path, curves: dict[str, FloatArray], dpi: float) -> None:
    """Draw loss curves side by side, on one scale of the loss.

    Args:
        path: of the picture.
        curves: training curves by model, [points, 3].
        dpi: dots per inch.
    """
    with rc_context(STYLE):
        figure, axes = make_panels(
            len(curves),
            3.8,
            top=0.36,
            bottom=0.58,
            left=0.87,
            right=0.42,
            gap=0.5,
            share_y=True,
        )
        scale_losses(axes[0], [curve[:, 1] for curve in curves.values()])
        axes[0].yaxis.set_major_formatter(format_tick)
        for ax, (name, curve) in zip(axes, curves.items(), strict=True):
            draw_loss(ax, name, curve)
        save(figure, path, dpi)


def draw_loss(ax: Axes, name: str, curve: FloatArray) -> None:
    """Draw a model's loss by iteration.

    The start of a long curve, where the loss leaps, is drawn again, larger, if there is room.
    """
    iteration = curve[:, 0]
    loss = curve[:, 1]
    ax.plot(iteration, loss, color=MODEL_COLORS[name], linewidth=1.5)
    last = f"{loss[-1]:#.3g}".rstrip(".")
    title = f"{MODELS[name].title}: loss {last} after {int(iteration[-1]):,} iterations"
    fits = len(title) <= TITLE_CHARS
    ax.set_title(title, fontsize=TITLE_SIZE if fits else TITLE_SIZE * 56 / len(title))
    ax.set(xlabel="iteration")
    scale_iterations(ax, iteration[-1], 5)
    if len(curve) > ZOOM_FROM and not _covers_inset(ax, curve):
        shown = iteration <= ZOOM * iteration[-1]
        _draw_start(ax.inset_axes(INSET), curve[shown], MODEL_COLORS[name])


def _covers_inset(ax: Axes, curve: FloatArray) -> bool:
    """Return whether a curve passes through the place of the inset."""
    shares = (ax.transData - ax.transAxes).transform(curve[:, :2])
    right = shares[:, 0] > INSET[0] - INSET_TICKS
    above = shares[:, 1] > INSET[1] - INSET_TICKS
    return bool((right & above).any())


def _draw_start(ax: Axes, curve: FloatArray, color: str) -> None:
    """Draw the start of a curve into the inset."""
    iteration = curve[:, 0]
    loss = curve[:, 1]
    ax.plot(iteration, loss, color=color, linewidth=0.9)
    if _has_peak([loss]):
        _scale_logarithmically(ax, [loss])
    ax.set_title(f"the first {int(iteration[-1]):,} iterations", fontsize=10)
    ax.tick_params(labelsize=9)
    scale_iterations(ax, iteration[-1], 3)


def scale_losses(ax: Axes, losses: list[FloatArray]) -> None:
    """Scale the axis of the loss so that no curve is cut off.

    Args:
        ax: the axes.
        losses: of each curve, [points]; the first says where a linear axis ends.
    """
    if _has_peak(losses):
        _scale_logarithmically(ax, losses)
        ax.set(ylabel="loss (logarithmic scale)")
        return
    first = losses[0]
    highest = np.concatenate(losses).max()
    top = max(first.max() + 0.05 * np.ptp(first), 1.01 * highest)
    ax.set(ylabel="loss", ylim=(0, top or 1))


def _has_peak(losses: list[FloatArray]) -> bool:
    """Return whether the highest loss is so high that on a linear scale some curve looks flat."""
    highest = np.concatenate(losses).max()
    return any(highest > 20 * np.median(loss) for loss in losses)


def _scale_logarithmically(ax: Axes, losses: list[FloatArray]) -> None:
    """Give the losses a logarithmic axis; those too small for it lie on its lower edge."""
    every_loss = np.concatenate(losses)
    bottom = max(float(every_loss.min()), SMALLEST_LOSS) / 1.2
    top = min(float(every_loss.max()) * 1.2, sys.float_info.max)

    def forward(loss: FloatArray) -> FloatArray:
        return log(np.maximum(loss, bottom))

    ax.set_ylim(bottom, top)
    # Matplotlib's own scale asks the machine's libm; with this one the picture is the same bytes
    # everywhere.
    ax.set_yscale("function", functions=(forward, exp))
    ticks = [tick for tick in _powers_of_ten(bottom, top) if tick >= bottom]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(format_tick)


def _powers_of_ten(bottom: float, top: float) -> list[float]:
    """Return some seven ticks from the power of ten below `bottom` on: of two decades 1, 2, 5."""
    first = int(f"{bottom:e}".partition("e")[2])
    last = int(f"{top:e}".partition("e")[2])
    if last - first < 2:
        digits = [1, 2, 5]
        step = 1
    else:
        digits = [1]
        step = 1 + (last - first) // 6
    ticks = []
    for power in range(first, last + 1, step):
        ticks += [float(f"{digit}e{power}") for digit in digits]
    return ticks


def format_tick(loss: float, _: float | None = None) -> str:
    """Return a loss as it stands beside its tick; Matplotlib gives the tick's position, too."""
    return f"{loss:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def scale_iterations(ax: Axes, last: float, ticks: int) -> None:
    """Scale the axis of the iterations from 0 to the last one, with some `ticks` ticks."""
    ax.set_xlim(0, last)
    ax.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")


def draw_confusions(path: Path, counts: dict[str, IntArray], dpi: float) -> None:
    """Draw how many points of each class were taken for which.

    Args:
        path: of the picture.
        counts: points of the test set by model, [actual class, predicted class].
        dpi: dots per inch.
    """
    with rc_context({**STYLE, "axes.grid": False}):
        figure, axes = make_panels(len(counts), 4.6, top=0.36, bottom=0.58, right=0.3)
        for ax, (name, table) in zip(axes, counts.items(), strict=True):
            accuracy = np.trace(table) / table.sum()
            ax.set_title(f"{MODELS[name].title}: {accuracy:.1%} test accuracy")
            _draw_confusion(ax, table)
        save(figure, path, dpi)


def _draw_confusion(ax: Axes, table: IntArray) -> None:
    """Draw the confusion matrix of one model."""
    shades = LinearSegmentedColormap.from_list("blue", ["white", PALETTE[0]])
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap=shades, vmin=0, vmax=1)
    ax.set(xlabel="predicted class", ylabel="actual class")
    if len(table) > len(PALETTE):
        return  # the numbers would have no room
    ax.set(xticks=range(len(table)), yticks=range(len(table)))
    for actual, predicted in np.ndindex(*table.shape):
        ink = "white" if share[actual, predicted] > 0.6 else "black"
        count = f"{table[actual, predicted]:,}"
        ax.text(predicted, actual, count, ha="center", va="center", color=ink)


@dataclass(frozen=True)
class Results:
    """What the other stages wrote, for the figures of the report.

    Attributes:
        X: points of the training set, [N, 2].
        y: their classes, [N].
        curves: training curves by model, [points, 3].
        confusions: points of the test set by model, [actual class, predicted class].
        boundaries: the pictures that show each model's decision boundary.
    """

    X: FloatArray
    y: IntArray
    curves: dict[str, FloatArray]
    confusions: dict[str, IntArray]
    boundaries: list[Path]


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes:
        description: what it shows, for those who cannot see it.
        draw: writes it, given its path, the results, and dots per inch.
        caption: the text below it, as Markdown.
        width: pixels, where it shall not be as wide as the page.
    """

    description: str
    draw: Callable[[Path, Results, int], Any]
    caption: str = ""
    width: int | None = None


# The figures of the report, in its order. Each becomes reports/figures/NAME.png, stands in
# reports/README.md and reports/report.html, and is an output of the stage `report` in dvc.yaml.
REPORT_FIGURES = {
    "boundaries": ReportFigure(
        "The decision boundaries of all models, with the points",
        lambda path, results, dpi: join_pictures(results.boundaries, path, dpi),
        caption=(
            "The stronger the colour of a region, the more certain the model is. "
            "The lines are the decision boundaries:\nthere, two classes are equally probable. "
            "Points with a black edge are misclassified."
        ),
    ),
    "losses": ReportFigure(
        "The loss of all models by iteration",
        lambda path, results, dpi: draw_losses(path, results.curves, dpi),
    ),
    "confusions": ReportFigure(
        "Confusion matrices of all models on the test set",
        lambda path, results, dpi: draw_confusions(path, results.confusions, dpi),
    ),
    "data": ReportFigure(
        "The training set",
        lambda path, results, dpi: draw_data(path, results.X, results.y, dpi),
        width=420,
    ),
}
