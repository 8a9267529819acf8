"""Pictures of a boundary by NumPy and Pillow, and the moving picture of the net that learns.

A figure by Matplotlib takes more than a tenth of a second, and some eighty boundaries are needed. So it draws what
stands still, once; the rest is put together here, in whole numbers and portable arithmetic: the same bytes everywhere.
"""

import numpy as np
from matplotlib import get_data_path, rc_context
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from pictures.figures import MODEL_COLORS, STYLE, leads, rendered, scale_losses, scatter, tinted
from pipeline.files import atomic_write
from spirals.models import MODELS

SIDE = 400  # pixels of a boundary along each side
CAPTION = 32  # pixels: height of the words above it
DPI = 100  # dots per inch, for the sizes of letters and points
WIDTH, HEIGHT, LEFT, TOP = (
    880,
    484,
    16,
    60,
)  # pixels: of the moving picture, and where the boundary lies in it
BANDS = 5  # steps of shading: smooth shading would take four times the bytes
TURN, HOLD = 110, 3000  # milliseconds: of a frame, and of the last one
DARK = 0.2  # of the line between two regions, 0 is black


def boundary_pixels(probabilities, points):
    """A boundary, its shading in bands, with the points on it: bytes [SIDE, SIDE, 3], row after row from the top.

    The probabilities are those of `pictures.figures.grid_probabilities`, the points those of `points_layer`.
    """
    regions = leads(probabilities)[:, ::-1]
    classes = len(regions)
    shades = tinted(
        np.repeat(np.arange(classes), BANDS + 1), np.tile(np.arange(BANDS + 1) / BANDS, classes)
    )
    best, margin = np.zeros((SIDE, SIDE), int), np.zeros((SIDE, SIDE))
    for k, lead in enumerate(regions):
        if lead.max() > 0:
            lead = enlarged(enlarged(lead, axis=1), axis=0)
            best[lead > margin] = k
            np.maximum(margin, lead, out=margin)
    shade = (best * (BANDS + 1) + np.rint(margin * BANDS).astype(int)).ravel()
    pixels = np.take(as_bytes(shades), shade, axis=0)
    line, ink = border(margin)
    pixels[line] = as_bytes(shades[shade[line]] * (1 - (1 - DARK) * ink[:, None]))
    where, colors, alpha = points
    pixels[where] = as_bytes(pixels[where] / 255 * (1 - alpha) + colors * alpha)
    return pixels.reshape(SIDE, SIDE, 3)


def as_bytes(colors):
    return np.rint(colors * 255).astype(np.uint8)


def enlarged(values, axis):
    """Linear interpolation along one axis of a plane, to SIDE places."""
    place = np.linspace(0, values.shape[axis] - 1, SIDE)
    before = np.minimum(place.astype(int), values.shape[axis] - 2)
    part = np.expand_dims(place - before, 1 - axis)
    steps = np.take(np.diff(values, axis=axis), before, axis)
    steps *= part
    steps += np.take(values, before, axis)
    return steps


def border(margin):
    """The line where the margin falls to zero: the pixels that it touches, and how much of each it covers, 0 to 1."""
    square = np.zeros_like(margin)  # of the slope
    for plane, along in ((margin, square), (margin.T, square.T)):
        step = np.pad(np.abs(np.diff(plane, axis=0)), ((1, 1), (0, 0)))
        along += np.square(np.maximum(step[:-1], step[1:]))
    # No line where the margin is level: all classes may be equally probable, as where no hidden unit is on.
    line = np.flatnonzero((margin * margin < 1.69 * square) & (square > 1e-24))
    ink = 1.3 - margin.ravel()[line] / np.sqrt(square.ravel()[line])
    return line, np.clip(ink, 0, 1)


def points_layer(X, y):
    """The points as Matplotlib draws them: the pixels that they cover, their colours, and how much."""
    with rc_context(STYLE):
        figure = Figure(figsize=(SIDE / DPI, SIDE / DPI), facecolor="none")
        ax = figure.add_axes((0, 0, 1, 1))
        scatter(ax, X, y, y)
        ax.axis("off")
        layer = np.asarray(rendered(figure, DPI)).reshape(-1, 4) / 255
    where = np.flatnonzero(layer[:, 3])
    return where, layer[where, :3], layer[where, 3:]


def draw_movie(path, name, moments, curve):
    """The moving picture of a model's training, a GIF, from moments with their pixels and the curve [points, 3]."""
    still, place = curve_picture(name, curve)
    frames = []
    for moment in moments:
        frame = still.copy()
        frame.paste(Image.fromarray(moment["pixels"]), (LEFT, TOP))
        draw = captioned(frame, moment, (LEFT, TOP - 14))
        column, row = place(moment["iteration"])
        draw.ellipse((column - 6, row - 6, column + 6, row + 6), MODEL_COLORS[name], "#222222", 2)
        frames.append(np.asarray(frame))
    first, *others = with_palette(
        frames, most=96
    )  # 255 would add a tenth to the bytes, and nothing to see
    milliseconds = [6 * TURN, *[TURN] * (len(frames) - 2), HOLD]
    with atomic_write(path) as temporary:
        first.save(
            temporary,
            save_all=True,
            append_images=others,
            duration=milliseconds,
            loop=0,
            optimize=True,
        )


def captioned(image, moment, place):
    """Writes the moment's iteration and accuracy, as wide as a boundary, from a place (column, row) on the baseline."""
    font = ImageFont.truetype(
        f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 20, layout_engine=ImageFont.Layout.BASIC
    )
    draw = ImageDraw.Draw(image)
    draw.text(place, f"iteration {moment['iteration']:,}", "#222222", font, anchor="ls")
    draw.text(
        (place[0] + SIDE, place[1]), f"{moment['accuracy']:.0%} right", "#222222", font, anchor="rs"
    )
    return draw


def frame(moment):
    """A moment as a picture of its own: the boundary, and above it the words, where a card of MLflow shows them."""
    image = Image.new("RGB", (SIDE, SIDE + CAPTION), "white")
    image.paste(Image.fromarray(moment["pixels"]), (0, CAPTION))
    captioned(image, moment, (0, CAPTION - 10))
    return np.asarray(image)


def curve_picture(name, curve):
    """What stands still, as an image, and a function from an iteration to its pixel on the curve."""
    last = curve[-1, 0]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI))
        ax = figure.add_axes((500 / WIDTH, 78 / HEIGHT, 346 / WIDTH, (SIDE - 54) / HEIGHT))
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.plot(curve[:, 0], curve[:, 1], color=MODEL_COLORS[name], linewidth=1)
        scale_losses(ax, [curve[:, 1]])
        ax.set(xlim=(0, last), xlabel="iteration (square-root scale)")
        ax.set_xticks([round(last * part) for part in (0, 0.01, 0.1, 0.25, 0.5, 1)])
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_title(MODELS[name].title, loc="left")
        still = rendered(figure, DPI).convert("RGB")

    def place(iteration):
        column, row = ax.transData.transform(
            (iteration, np.interp(iteration, curve[:, 0], curve[:, 1]))
        )
        return round(column), round(HEIGHT - row)

    return still, place


def with_palette(pictures, most):
    """Pictures, bytes [height, width, 3], as images with one palette: of the colours, at most 256, that cover most."""
    sample = np.concatenate([pixels[::4, ::4].reshape(-1, 3) for pixels in pictures])
    cell = (sample >> 2).astype(int) @ (
        64**2,
        64,
        1,
    )  # Pillow looks a colour up by six bits of each channel
    counts = np.bincount(cell, minlength=64**3)
    common = np.argsort(-counts, kind="stable")[: min(most, np.count_nonzero(counts))]
    asked = np.stack([common >> 12, common >> 6 & 63, common & 63], axis=1) << 2
    sums = [np.bincount(cell, channel, 64**3)[common] for channel in sample.T]
    shown = np.rint(np.stack(sums, axis=1) / counts[common, None])
    palette = Image.new("P", (1, 1))
    palette.putpalette(asked.astype(np.uint8).tobytes())
    images = [
        Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)
        for pixels in pictures
    ]
    for image in images:
        image.putpalette(shown.astype(np.uint8).tobytes())
    return images
