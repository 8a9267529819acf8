"""The figures: one style, colours of Okabe and Ito (2008), told apart by the colour-blind.

Every class also has a marker of its own, for prints in grey. The pictures are drawn from
numbers that are the same everywhere, and carry neither a date nor a version.
"""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colors
from PIL import Image

from spirals.files import replacing
from spirals.models import softmax

PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
TITLES = {"linear": "Linear softmax classifier", "mlp": "Two-layer net"}
MODEL_COLORS = {"linear": "#D55E00", "mlp": "#0072B2"}
TINT = 0.5  # how much of its colour a class gives to its region
MAX_POINTS = 3000  # drawn in one figure
STYLE = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def class_colors(classes):
    """RGB colours, array of shape [classes, 3]; beyond eight the palette begins again, lighter."""
    rgb = np.array([colors.to_rgb(PALETTE[k % len(PALETTE)]) for k in range(classes)])
    lighter = (np.arange(classes) // len(PALETTE) / (1 + (classes - 1) // len(PALETTE)))[:, None]
    return rgb + (1 - rgb) * lighter


def grid_probabilities(model, weights, lim, cells):
    """Class probabilities on a square grid from -lim to lim, row after row from the bottom.

    Returns:
        Array of shape [cells, cells, K].
    """
    axis = np.linspace(-lim, lim, cells)
    rows = []
    for x2 in axis:
        scores, _ = model.forward(weights, np.stack([axis, np.full(cells, x2)], axis=1))
        rows.append(softmax(scores))
    return np.stack(rows)


def tinted(probabilities):
    """Colours of the regions: white, and of each class's colour as much as it is probable."""
    ink = (1 - class_colors(probabilities.shape[-1])) * TINT
    shade = np.zeros((*probabilities.shape[:-1], 3))
    for k in range(len(ink)):
        shade += probabilities[..., k : k + 1] * ink[k]
    return 1 - shade


def limit(X):
    """Half the width of a square around the origin that holds every point, with a margin."""
    return 1.1 * float(np.max(np.abs(X)))


def thinned(X):
    """Every which point is drawn, and the words that say so."""
    step = -(-len(X) // MAX_POINTS)
    return step, "" if step == 1 else f", every {step}th point drawn"


def save(figure, path, dpi):
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={"Software": None})
    plt.close(figure)


def scatter(ax, X, y, wrong=None):
    """Points by class; those in `wrong` with a black edge."""
    step, _ = thinned(X)
    rgb = class_colors(int(y.max()) + 1)
    for k in range(len(rgb)):
        ours = np.flatnonzero(y == k)[::step]
        missed = np.zeros(len(ours), bool) if wrong is None else wrong[ours]
        style = {"s": 22, "marker": MARKERS[k % len(MARKERS)], "color": rgb[k]}
        label = f"class {k}" if len(rgb) <= len(PALETTE) else None
        ax.scatter(*X[ours[~missed]].T, **style, edgecolors="white", linewidths=0.5, label=label)
        ax.scatter(*X[ours[missed]].T, **style, edgecolors="black", linewidths=1.2, zorder=3)
    if wrong is not None and wrong.any():
        ax.scatter([], [], s=22, color="white", edgecolors="black", linewidths=1.2, label="misclassified")
    ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")


def draw_data(path, X, y, dpi):
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(5.2, 5.6))
        scatter(ax, X, y)
        ax.set(xlim=(-limit(X), limit(X)), ylim=(-limit(X), limit(X)))
        ax.set_title(f"The spiral data: {len(X):,} points in {int(y.max()) + 1} classes{thinned(X)[1]}")
        figure.legend(loc="outside lower center", ncols=4)
        save(figure, path, dpi)


def draw_boundaries(path, panels, X, y, dpi):
    """One panel a model, in a row.

    Args:
        path: of the picture.
        panels: dicts of name, probabilities on the grid, predicted classes [N], accuracy.
        X, y: points [N, 2] and their classes [N].
        dpi: dots per inch.
    """
    lim = limit(X)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 5.6), squeeze=False)
        for ax, panel in zip(axes[0], panels, strict=True):
            probabilities = panel["probabilities"]
            ax.imshow(tinted(probabilities), origin="lower", extent=(-lim, lim, -lim, lim), interpolation="nearest")
            axis = np.linspace(-lim, lim, len(probabilities))
            for k in range(probabilities.shape[-1]):
                others = np.max(np.delete(probabilities, k, axis=-1), axis=-1)
                lead = probabilities[..., k] - others
                if lead.min() < 0 < lead.max():
                    ax.contour(axis, axis, lead, levels=[0.0], colors="#333333", linewidths=1.0)
            scatter(ax, X, y, wrong=panel["predicted"] != y)
            title = f"{TITLES[panel['name']]}: {panel['accuracy']:.0%} of the points right"
            ax.set_title(title + thinned(X)[1])
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        save(figure, path, dpi)


def draw_losses(path, curves, dpi):
    """Both loss curves side by side on one scale of loss; `curves` by model, [points, 3]."""
    with plt.rc_context(STYLE):
        size = (5.2 * len(curves), 3.8)
        figure, axes = plt.subplots(1, len(curves), figsize=size, sharey=True, squeeze=False)
        for ax, (name, curve) in zip(axes[0], curves.items(), strict=True):
            ax.plot(curve[:, 0], curve[:, 1], color=MODEL_COLORS[name], linewidth=2)
            ax.set_title(f"{TITLES[name]}: loss {curve[-1, 1]:.3f} after {int(curve[-1, 0]):,} iterations")
            ax.set(xlabel="iteration", xlim=(0, curve[-1, 0]))
            ax.xaxis.set_major_locator(plt.MaxNLocator(5, integer=True))
            ax.xaxis.set_major_formatter("{x:,.0f}")
        axes[0][0].set(ylabel="loss", ylim=(0, None))
        save(figure, path, dpi)


def write_frame(path, probabilities, X, y, lim):
    """A small picture of a boundary, by NumPy alone: some 40 are needed, and a figure takes long.

    Args:
        path: of the picture.
        probabilities: on the grid, array of shape [cells, cells, K].
        X, y: points [N, 2] and their classes [N].
        lim: half the width of the picture, in the units of X.
    """
    size = 2 * len(probabilities)
    pixels = tinted(probabilities).repeat(2, axis=0).repeat(2, axis=1)
    rgb = class_colors(probabilities.shape[-1])
    step, _ = thinned(X)
    center = np.rint((X[::step] + lim) * ((size - 1) / (2 * lim))).astype(int)
    for radius, color in ((3, np.ones(3)), (2, rgb[y[::step]])):
        for dx in range(-radius, radius + 1):
            for dy in range(-radius, radius + 1):
                if dx * dx + dy * dy <= radius * radius + 1:
                    column, row = np.clip(center + (dx, dy), 0, size - 1).T
                    pixels[row, column] = color
    image = Image.fromarray(np.rint(pixels[::-1] * 255).astype(np.uint8))
    with replacing(path) as temporary:
        image.save(temporary)
