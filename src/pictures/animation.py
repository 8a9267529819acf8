"""The pictures of a training: the frames for the slider in MLflow, and the animation.

Matplotlib takes more than a tenth of a second for a figure, and some eighty decision boundaries are
needed. So it draws what stands still, once. The rest is put together here by NumPy and Pillow, in
whole numbers and portable arithmetic: the same bytes everywhere.

This module imports Matplotlib: a script calls `isolate_matplotlib` before (matplotlib_setup.py).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import get_data_path, rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bridge.atomic import atomic_write
from pictures.figures import (
    MODEL_COLORS,
    STYLE,
    class_margins,
    draw_points,
    grid_probabilities,
    render_figure,
    scale_losses,
    shade_regions,
)
from pictures.palette import half_width
from pipeline.runtime import avoid_copies_of_short_rows
from portable.arithmetic import FloatArray, IntArray
from spirals.models import MODELS
from spirals.training import Snapshot

PixelArray = NDArray[np.uint8]  # [height, width, 3]
Place = tuple[int, int]  # pixels from the upper left corner: column, row

SIDE = 400  # pixels of a boundary along each axis
DPI = 100  # dots per inch, for the sizes of letters and points
BANDS = 5  # steps of shading: smooth shading would take four times the bytes
LINE_SHADE = 0.2  # of the line between two regions, 0 is black

CAPTION = 32  # pixels: height of the words above a frame
FONT_SIZE = 17  # pixels
INK = "#222222"

# The animation, in pixels, and where the boundary lies in it.
WIDTH = 880
HEIGHT = 484
LEFT = 16
TOP = 60
GIF_COLORS = 96  # 255 would add a tenth to the bytes, and nothing to see
FRAME_TIME = 110  # milliseconds
LAST_FRAME_TIME = 3000


@dataclass(frozen=True)
class PointsLayer:
    """The points of the data as Matplotlib draws them, on nothing.

    Attributes:
        index: the pixels that they cover, in the order of the flattened picture.
        colors: of these pixels, [covered, 3], from 0 to 1.
        alpha: how much of each is covered, [covered, 1], from 0 to 1.
    """

    index: IntArray
    colors: FloatArray
    alpha: FloatArray


@dataclass(frozen=True)
class Frame:
    """A snapshot of a training, and its decision boundary as pixels [SIDE, SIDE, 3]."""

    snapshot: Snapshot
    pixels: PixelArray


def draw_frames(
    snapshots: Sequence[Snapshot], X: FloatArray, y: IntArray, cells: int
) -> list[Frame]:
    """Return a frame for every iteration that has a snapshot; a short training has several at one.

    Args:
        snapshots: of the training, in its order.
        X: points, [N, 2].
        y: their classes, [N].
        cells: of the grid along each axis, on which a model is asked; it is drawn larger.
    """
    by_iteration = {snapshot.iteration: snapshot for snapshot in snapshots}
    shown = list(by_iteration.values())
    points = draw_points_layer(X, y)
    draw = partial(_draw_snapshot, lim=half_width(X), cells=cells, points=points)
    # NumPy lets two threads compute at once.
    with ThreadPoolExecutor(2, initializer=avoid_copies_of_short_rows) as pool:
        pictures = list(pool.map(draw, shown))
    return [Frame(snapshot, pixels) for snapshot, pixels in zip(shown, pictures, strict=True)]


def _draw_snapshot(snapshot: Snapshot, lim: float, cells: int, points: PointsLayer) -> PixelArray:
    return boundary_pixels(grid_probabilities(snapshot.model, lim, cells), points)


def boundary_pixels(probabilities: FloatArray, points: PointsLayer) -> PixelArray:
    """Return a decision boundary, its shading in bands, with the points on it.

    Args:
        probabilities: see `pictures.figures.grid_probabilities`.
        points: see `draw_points_layer`.

    Returns:
        [SIDE, SIDE, 3], row after row from the top.
    """
    margins = class_margins(probabilities)[:, ::-1]
    predicted = np.zeros((SIDE, SIDE), int)
    margin = np.zeros((SIDE, SIDE))
    for k, coarse in enumerate(margins):
        if coarse.max() > 0:
            fine = _enlarge(_enlarge(coarse, axis=1), axis=0)
            predicted[fine > margin] = k
            np.maximum(margin, fine, out=margin)

    shades = _band_colors(len(margins))
    band = (predicted * (BANDS + 1) + np.rint(margin * BANDS).astype(int)).ravel()
    pixels = np.take(_as_bytes(shades), band, axis=0)
    line, ink = _boundary_line(margin)
    pixels[line] = _as_bytes(shades[band[line]] * (1 - (1 - LINE_SHADE) * ink[:, None]))
    below = pixels[points.index] / 255
    pixels[points.index] = _as_bytes(below * (1 - points.alpha) + points.colors * points.alpha)
    return pixels.reshape(SIDE, SIDE, 3)


def _band_colors(classes: int) -> FloatArray:
    """Return the colours of all bands, [classes * (BANDS + 1), 3]: class after class, from pale."""
    predicted = np.repeat(np.arange(classes), BANDS + 1)
    margin = np.tile(np.arange(BANDS + 1) / BANDS, classes)
    return shade_regions(predicted, margin)


def _as_bytes(colors: FloatArray) -> PixelArray:
    return np.rint(colors * 255).astype(np.uint8)


def _enlarge(values: FloatArray, axis: int) -> FloatArray:
    """Interpolate linearly along one axis of a plane, to SIDE values."""
    position = np.linspace(0, values.shape[axis] - 1, SIDE)
    before = np.minimum(position.astype(int), values.shape[axis] - 2)
    part = np.expand_dims(position - before, 1 - axis)
    steps = np.take(np.diff(values, axis=axis), before, axis)
    steps *= part
    steps += np.take(values, before, axis)
    return steps


def _boundary_line(margin: FloatArray) -> tuple[IntArray, FloatArray]:
    """Find the line along which the margin falls to zero.

    Args:
        margin: of the predicted class, [SIDE, SIDE].

    Returns:
        The pixels that the line touches, and how much of each it covers, from 0 to 1.
    """
    slope_squared = np.zeros_like(margin)
    _add_slope(slope_squared, margin)
    _add_slope(slope_squared.T, margin.T)
    # No line where the margin is level: all classes may be equally probable, as where no hidden
    # unit is on.
    touched = (margin * margin < 1.69 * slope_squared) & (slope_squared > 1e-24)
    line = np.flatnonzero(touched)
    ink = 1.3 - margin.ravel()[line] / np.sqrt(slope_squared.ravel()[line])
    return line, np.clip(ink, 0, 1)


def _add_slope(total: FloatArray, plane: FloatArray) -> None:
    """Add the square of a plane's slope from row to row, in place."""
    step = np.pad(np.abs(np.diff(plane, axis=0)), ((1, 1), (0, 0)))
    total += np.square(np.maximum(step[:-1], step[1:]))


def draw_points_layer(X: FloatArray, y: IntArray) -> PointsLayer:
    """Return the points [N, 2] by class [N], to be laid over a boundary."""
    with rc_context(STYLE):
        figure = Figure(figsize=(SIDE / DPI, SIDE / DPI), facecolor="none")
        ax = figure.add_axes((0, 0, 1, 1))
        draw_points(ax, X, y, y)
        ax.axis("off")
        layer = np.asarray(render_figure(figure, DPI)).reshape(-1, 4) / 255
    index = np.flatnonzero(layer[:, 3])
    return PointsLayer(index, layer[index, :3], layer[index, 3:])


def draw_slider(snapshots: Sequence[Snapshot], frames: Sequence[Frame]) -> dict[int, Image.Image]:
    """Return the pictures of the slider in MLflow, by per cent of the training.

    Args:
        snapshots: of the training; those at whole per cents are shown.
        frames: see `draw_frames`.
    """
    by_iteration = {frame.snapshot.iteration: frame for frame in frames}
    percents = []
    pictures = []
    for snapshot in snapshots:
        if snapshot.permille % 10 == 0:
            percents.append(snapshot.permille // 10)
            pictures.append(_slider_picture(by_iteration[snapshot.iteration]))
    images = quantize_together(pictures, most_colors=256)
    return dict(zip(percents, images, strict=True))


def _slider_picture(frame: Frame) -> PixelArray:
    """Return a boundary with words above it, where a card of MLflow shows them."""
    image = Image.new("RGB", (SIDE, SIDE + CAPTION), "white")
    image.paste(Image.fromarray(frame.pixels), (0, CAPTION))
    _write_caption(image, frame.snapshot, (0, CAPTION - 10))
    return np.asarray(image)


def draw_animation(path: Path, name: str, frames: Sequence[Frame], curve: FloatArray) -> None:
    """Write the animation of a model's training, a GIF.

    Args:
        path: of the picture.
        name: of the model.
        frames: see `draw_frames`.
        curve: its training curve, [points, 3].
    """
    background, place_of = draw_background(name, curve)
    pictures = []
    for frame in frames:
        image = background.copy()
        image.paste(Image.fromarray(frame.pixels), (LEFT, TOP))
        _write_caption(image, frame.snapshot, (LEFT, TOP - 14))
        column, row = place_of(frame.snapshot.iteration)
        dot = (column - 6, row - 6, column + 6, row + 6)
        ImageDraw.Draw(image).ellipse(dot, fill=MODEL_COLORS[name], outline=INK, width=2)
        pictures.append(np.asarray(image))
    first, *others = quantize_together(pictures, most_colors=GIF_COLORS)
    times = [6 * FRAME_TIME, *[FRAME_TIME] * (len(frames) - 2), LAST_FRAME_TIME]
    with atomic_write(path) as temporary:
        first.save(
            temporary,
            save_all=True,
            append_images=others,
            duration=times,
            loop=0,
            optimize=True,
        )


def _write_caption(image: Image.Image, snapshot: Snapshot, place: Place) -> None:
    """Write iteration and accuracy of a snapshot, as wide as a boundary.

    Args:
        image: is changed.
        snapshot: whose numbers they are.
        place: where the baseline of the words begins.
    """
    file = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    font = ImageFont.truetype(file, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    draw = ImageDraw.Draw(image)
    left, baseline = place
    draw.text((left, baseline), f"iteration {snapshot.iteration:,}", INK, font, anchor="ls")
    accuracy = f"{snapshot.accuracy:.0%} training accuracy"
    draw.text((left + SIDE, baseline), accuracy, INK, font, anchor="rs")


def draw_background(name: str, curve: FloatArray) -> tuple[Image.Image, Callable[[int], Place]]:
    """Draw what stands still in the animation: the curve.

    Returns:
        The picture, and a function from an iteration to its place on the curve.
    """
    last = curve[-1, 0]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI))
        ax = figure.add_axes((500 / WIDTH, 78 / HEIGHT, 346 / WIDTH, (SIDE - 54) / HEIGHT))
        ax.set_xscale("function", functions=(_square_root, np.square))
        ax.plot(curve[:, 0], curve[:, 1], color=MODEL_COLORS[name], linewidth=1)
        scale_losses(ax, [curve[:, 1]])
        ax.set(xlim=(0, last), xlabel="iteration (square-root scale)")
        ax.set_xticks([round(last * part) for part in (0, 0.01, 0.1, 0.25, 0.5, 1)])
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_title(MODELS[name].title, loc="left")
        background = render_figure(figure, DPI).convert("RGB")

    def place_of(iteration: int) -> Place:
        loss = np.interp(iteration, curve[:, 0], curve[:, 1])
        column, row_from_below = ax.transData.transform((iteration, loss))
        return round(column), round(HEIGHT - row_from_below)

    return background, place_of


def _square_root(x: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(x, 0))


def quantize_together(pictures: Sequence[PixelArray], most_colors: int) -> list[Image.Image]:
    """Return pictures as images with one palette, of the colours that cover most.

    Args:
        pictures: [height, width, 3] each.
        most_colors: of the palette, at most 256.
    """
    sample = np.concatenate([pixels[::4, ::4].reshape(-1, 3) for pixels in pictures])
    # Pillow looks a colour up by six bits of each channel: a cell.
    cells = (sample >> 2).astype(int) @ (64**2, 64, 1)
    counts = np.bincount(cells, minlength=64**3)
    common = np.argsort(-counts, kind="stable")[: min(most_colors, np.count_nonzero(counts))]
    corners = np.stack([common >> 12, common >> 6 & 63, common & 63], axis=1) << 2
    sums = [np.bincount(cells, channel, 64**3)[common] for channel in sample.T]
    means = np.rint(np.stack(sums, axis=1) / counts[common, None])

    lookup = Image.new("P", (1, 1))
    lookup.putpalette(corners.astype(np.uint8).tobytes())
    images = []
    for pixels in pictures:
        image = Image.fromarray(pixels).quantize(palette=lookup, dither=Image.Dither.NONE)
        image.putpalette(means.astype(np.uint8).tobytes())
        images.append(image)
    return images
