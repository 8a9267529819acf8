"""The figures, in one style, drawn from numbers that are the same everywhere, without a date or a version."""

import sys
from functools import reduce
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import colors, rc_context, rc_params_from_file
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from PIL import Image

from pictures.palette import (
    LARGEST,
    MARKERS,
    PALE,
    PALETTE,
    TINT,
    class_colors,
    limit,
    marker_size,
    thinning,
)
from pipeline.files import atomic_write, file_errors
from portable.arithmetic import exp, log
from spirals.data import NAME
from spirals.models import MODELS, softmax

MODEL_COLORS = dict(
    zip(MODELS, cycle(["#D55E00", *PALETTE[:1], *PALETTE[2:5], "#E69F00", "#666666"]))
)
ZOOM, ZOOM_FROM = 0.15, 500  # share of a curve that is shown larger, if it has so many points
INSET = (0.32, 0.4, 0.66, 0.5)  # where: left, bottom, width, height, as shares of the panel
TICKS = 0.1  # room for its ticks on the left and below, as a share of the panel
LEAST = 1e-16  # loss: on a logarithmic scale, smaller ones are as good as zero
PANEL = 5.2  # inches: width of one part of a figure
AT_ONCE = (
    2**18
)  # numbers of the widest layer, some 2 MiB: larger steps leave the cache, smaller ones cost time
# All settings, whatever the user or another library has set. (To set a backend, Matplotlib would look for one.)
STYLE = rc_params_from_file(Path(__file__).with_name("matplotlibrc"), use_default_template=True)
STYLE = {key: value for key, value in STYLE.items() if key != "backend"}


def grid_probabilities(model, lim, cells):
    """Class probabilities [K, cells, cells] on a square grid from -lim to lim, row after row from the bottom."""
    axis = np.linspace(-lim, lim, cells)
    rows = max(1, AT_ONCE // (cells * max(value.shape[-1] for value in model.weights.values())))
    parts = []
    for start in range(0, cells, rows):
        x2, x1 = np.meshgrid(axis[start : start + rows], axis, indexing="ij")
        scores, _ = model.forward(np.stack([x1.ravel(), x2.ravel()], axis=1))
        parts.append(softmax(scores).T.reshape(-1, *x1.shape))
    return np.concatenate(parts, axis=1)


def leads(probabilities):
    """By how much each class is more probable than the best other [K, ...]: above 0 if predicted, 0 on a boundary."""
    best = np.argmax(probabilities, axis=0)
    first = np.max(probabilities, axis=0)
    second = reduce(
        np.maximum,
        (np.where(best == k, -1.0, of_class) for k, of_class in enumerate(probabilities)),
    )
    return np.stack(
        [of_class - np.where(best == k, second, first) for k, of_class in enumerate(probabilities)]
    )


def tinted(best, margin):
    """RGB colours [..., 3] of the predicted classes [...]: pale where the margin [...], their lead, is 0, full at 1."""
    ink = 1 - class_colors(int(best.max()) + 1)
    return 1 - ink[best] * (PALE + (TINT - PALE) * margin)[..., None]


def panels_of(count, height, top, bottom, left=0.7, right=0.12, gap=0.82, **settings):
    """A figure with axes side by side. Its margins in inches are given: to find them, Matplotlib would draw twice."""
    width = PANEL * count
    figure = Figure(figsize=(width, height))
    side = (width - left - right - gap * (count - 1)) / count
    figure.subplots_adjust(
        left / width, bottom / height, 1 - right / width, 1 - top / height, gap / side
    )
    return figure, figure.subplots(1, count, squeeze=False, **settings)[0]


def rendered(figure, dpi):
    """The figure as an image with four channels."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba()))


def write_image(image, path, dpi):
    with atomic_write(path) as temporary:
        image.save(
            temporary, dpi=(dpi, dpi), compress_level=3
        )  # the usual 6: twice the time, a sixth of the bytes


def save(figure, path, dpi):
    write_image(rendered(figure, dpi).convert("RGB"), path, dpi)


def side_by_side(pictures, path, dpi):
    """Pictures of one height, as one."""
    images = []
    for picture in pictures:
        with file_errors(picture), Image.open(picture) as image:
            images.append(image.convert("RGB"))
    together = Image.new(
        "RGB",
        (sum(image.width for image in images), max(image.height for image in images)),
        "white",
    )
    left = 0
    for image in images:
        together.paste(image, (left, 0))
        left += image.width
    write_image(together, path, dpi)


def scatter(ax, X, y, predicted):
    """Points by class; those of which another one is predicted with a black edge."""
    step, size = thinning(len(X)), marker_size(len(X))
    edge = size / LARGEST
    rgb = class_colors(int(y.max()) + 1)
    for k in range(len(rgb)):
        ours = np.flatnonzero(y == k)[::step]
        missed = predicted[ours] != k
        style = {"s": size, "marker": MARKERS[k % len(MARKERS)], "color": rgb[k]}
        label = f"class {k}" if len(rgb) <= len(PALETTE) else None
        ax.scatter(
            *X[ours[~missed]].T, **style, edgecolors="white", linewidths=0.5 * edge, label=label
        )
        ax.scatter(
            *X[ours[missed]].T, **style, edgecolors="black", linewidths=0.3 + 0.9 * edge, zorder=3
        )
    if (predicted != y).any():
        ax.scatter(
            [],
            [],
            s=LARGEST,
            color="white",
            edgecolors="black",
            linewidths=1.2,
            label="misclassified",
        )
    lim = limit(X)
    ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", xlim=(-lim, lim), ylim=(-lim, lim))
    ax.locator_params(nbins=4)  # inside of the limits, where the regions end


def draw_data(path, X, y, dpi):
    draw_boundary(
        path, f"{NAME}: {len(X):,} points in {int(y.max()) + 1} classes", None, y, X, y, dpi
    )


def draw_boundary(path, title, probabilities, predicted, X, y, dpi):
    """The points [N, 2], marked where the predicted class [N] is wrong, on the regions of a grid (or none)."""
    classes, step, lim = int(y.max()) + 1, thinning(len(X)), limit(X)
    title += "" if step == 1 else f"\n(one point in {step:,} is drawn)"
    rows = (
        classes // 4 + 1 if classes <= len(PALETTE) else 1
    )  # of the legend; misclassified is one more entry
    with rc_context({**STYLE, "axes.grid": False}):
        figure, (ax,) = panels_of(
            1, 5.6, top=0.36 + 0.2 * title.count("\n"), bottom=0.6 + 0.25 * rows
        )
        if probabilities is not None:
            regions = leads(probabilities)
            shades = tinted(np.argmax(regions, axis=0), np.max(regions, axis=0))
            ax.imshow(
                shades, origin="lower", extent=(-lim, lim, -lim, lim), interpolation="nearest"
            )
            axis = np.linspace(-lim, lim, len(shades))
            for lead in regions:
                if lead.min() < 0 < lead.max():
                    ax.contour(axis, axis, lead, levels=[0.0], colors="#333333", linewidths=1.0)
        scatter(ax, X, y, predicted)
        ax.set_title(title)
        below = {"loc": "lower center", "bbox_to_anchor": (0.5, 0)}
        figure.legend(
            *ax.get_legend_handles_labels(), **below, ncols=4, handletextpad=0.3, columnspacing=1.5
        )
        save(figure, path, dpi)


def draw_losses(path, curves, dpi):
    """Loss curves side by side on one scale of loss; `curves` by model, [points, 3].

    The start of a long curve, where a constant step leaps, is drawn again, larger, if the rest leaves room for it.
    """
    with rc_context(STYLE):
        figure, axes = panels_of(
            len(curves), 3.8, 0.36, 0.58, left=0.87, right=0.42, gap=0.5, sharey=True
        )
        scale_losses(axes[0], [curve[:, 1] for curve in curves.values()])
        axes[0].yaxis.set_major_formatter(short)
        for ax, (name, curve) in zip(axes, curves.items(), strict=True):
            iteration, loss = curve[:, 0], curve[:, 1]
            ax.plot(iteration, loss, color=MODEL_COLORS[name], linewidth=1.5)
            last = f"{loss[-1]:#.3g}".rstrip(".")
            title = f"{MODELS[name].title}: loss {last} after {int(iteration[-1]):,} iterations"
            ax.set_title(title, fontsize=min(11, 640 / len(title)))  # points
            ax.set(xlabel="iteration")
            along(ax, iteration[-1], 5)
            across, up = (ax.transData - ax.transAxes).transform(curve[:, :2]).T
            covered = (across > INSET[0] - TICKS) & (up > INSET[1] - TICKS)
            if len(curve) > ZOOM_FROM and not covered.any():
                inset = ax.inset_axes(INSET)
                shown = iteration <= ZOOM * iteration[-1]
                inset.plot(iteration[shown], loss[shown], color=MODEL_COLORS[name], linewidth=0.9)
                if peaked([loss[shown]]):
                    logarithmic(inset, [loss[shown]])
                inset.set_title(f"the first {int(iteration[shown][-1]):,} iterations", fontsize=10)
                inset.tick_params(labelsize=9)
                along(inset, iteration[shown][-1], 3)
        save(figure, path, dpi)


def scale_losses(ax, losses):
    """The axis of the loss, that no curve is cut by; `losses` is a list of arrays of shape [points]."""
    if peaked(losses):
        logarithmic(ax, losses)
        ax.set(ylabel="loss (logarithmic scale)")
    else:
        first, highest = losses[0], max(loss.max() for loss in losses)
        ax.set(
            ylabel="loss", ylim=(0, max(first.max() + 0.05 * np.ptp(first), 1.01 * highest) or 1)
        )


def peaked(losses):
    """Whether the highest of all losses is so far above some curve that a linear scale would show it as flat."""
    highest = max(loss.max() for loss in losses)
    return any(highest > 20 * np.median(loss) for loss in losses)


def logarithmic(ax, losses):
    """A logarithmic axis of losses; those too small for it, such as zero, lie on its lower edge."""
    lowest, highest = (float(end([end(loss) for loss in losses])) for end in (np.min, np.max))
    bottom, top = max(lowest, LEAST) / 1.2, min(highest * 1.2, sys.float_info.max)
    ax.set_ylim(bottom, top)
    # Matplotlib's own asks the machine's libm; with these the picture is the same bytes everywhere.
    ax.set_yscale("function", functions=(lambda loss: log(np.maximum(loss, bottom)), exp))
    first, last = (int(f"{loss:e}".partition("e")[2]) for loss in (bottom, top))  # powers of ten
    digits, step = ((1, 2, 5), 1) if last - first < 2 else ((1,), 1 + (last - first) // 6)
    ticks = [
        float(f"{digit}e{power}") for power in range(first, last + 1, step) for digit in digits
    ]
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick >= bottom]))
    ax.yaxis.set_major_formatter(short)


def short(loss, _):
    """A loss beside its tick."""
    return f"{loss:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def along(ax, last, ticks):
    """The axis of iterations, from 0 to the last."""
    ax.set_xlim(0, last)
    ax.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")


def draw_confusions(path, counts, dpi):
    """How many points of each class were taken for which; `counts` by model, [actual, predicted]."""
    shades = colors.LinearSegmentedColormap.from_list("blue", ["white", PALETTE[0]])
    with rc_context({**STYLE, "axes.grid": False}):
        figure, axes = panels_of(len(counts), 4.6, 0.36, 0.58, right=0.3)
        for ax, (name, table) in zip(axes, counts.items(), strict=True):
            share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
            ax.imshow(share, cmap=shades, vmin=0, vmax=1)
            right = np.trace(table) / table.sum()
            ax.set_title(
                f"{MODELS[name].title}: {right:.1%} of {int(table.sum()):,} fresh points right"
            )
            ax.set(xlabel="predicted class", ylabel="actual class")
            if len(table) <= len(PALETTE):
                ax.set(xticks=range(len(table)), yticks=range(len(table)))
                for actual, predicted in np.ndindex(*table.shape):
                    ink = "white" if share[actual, predicted] > 0.6 else "black"
                    ax.text(
                        predicted,
                        actual,
                        f"{table[actual, predicted]:,}",
                        ha="center",
                        va="center",
                        color=ink,
                    )
        save(figure, path, dpi)
