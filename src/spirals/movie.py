"""Pictures of a boundary by NumPy and Pillow, and the moving picture of the net that learns.

A figure by Matplotlib takes a third of a second, and more than a hundred boundaries are
needed. So Matplotlib draws what stands still, once; the rest is put together here, in whole
numbers and portable arithmetic: the same bytes everywhere.
"""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spirals.figures import MODEL_COLORS, STYLE, leads, scatter, tinted
from spirals.files import replacing
from spirals.models import TITLES

SIDE = 400  # pixels of a boundary along each side
WIDTH, HEIGHT, LEFT, TOP = 880, 484, 16, 60  # pixels: of the moving picture, and where the boundary lies in it
BANDS = 5  # steps of shading: smooth shading would take four times the bytes
COLORS = 96  # of the moving picture; 255 would add a tenth to the bytes, and nothing to see
TURN, HOLD = 110, 3000  # milliseconds: of a frame, and of the last one
DARK = 0.2  # of the line between two regions, 0 is black


def boundary_pixels(probabilities, points):
    """A boundary, its shading in bands, with the points on it.

    Args:
        probabilities: on the grid of `spirals.figures.grid_probabilities`, array of
            shape [cells, cells, K].
        points: see `points_layer`.

    Returns:
        Array of shape [SIDE, SIDE, 3] of bytes, row after row from the top.
    """
    coarse = leads(probabilities)[::-1]
    classes = coarse.shape[-1]
    best, margin = np.zeros((SIDE, SIDE), int), np.zeros((SIDE, SIDE))
    for k in range(classes):
        if coarse[..., k].max() > 0:
            lead = enlarged(enlarged(coarse[..., k], axis=0), axis=1)
            best[lead > margin] = k
            np.maximum(margin, lead, out=margin)
    shades = tinted(np.repeat(np.arange(classes), BANDS + 1), np.tile(np.arange(BANDS + 1) / BANDS, classes))
    pixels = shades[best * (BANDS + 1) + np.rint(margin * BANDS).astype(int)]
    line = np.flatnonzero(ink := border(margin))
    flat = pixels.reshape(-1, 3)
    flat[line] *= 1 - (1 - DARK) * ink.ravel()[line, None]
    where, colors, alpha = points
    flat[where] = flat[where] * (1 - alpha) + colors * alpha
    return np.rint(pixels * 255).astype(np.uint8)


def enlarged(values, axis):
    """Linear interpolation along one axis of a plane, to SIDE places."""
    place = np.linspace(0, values.shape[axis] - 1, SIDE)
    before = np.minimum(place.astype(int), values.shape[axis] - 2)
    part = np.expand_dims(place - before, 1 - axis)
    return np.take(values, before, axis) * (1 - part) + np.take(values, before + 1, axis) * part


def border(margin):
    """How much of each pixel the line covers where the margin falls to zero, 0 to 1."""
    slope = np.zeros_like(margin)
    for axis in (0, 1):
        step = np.abs(np.diff(margin, axis=axis))
        edge = np.zeros_like(np.take(step, [0], axis))
        steepest = np.maximum(np.concatenate([step, edge], axis), np.concatenate([edge, step], axis))
        slope += steepest * steepest
    slope = np.sqrt(slope)
    level = slope < 1e-12  # no line there: all classes may be equally probable, as where no hidden unit is on
    return np.where(level, 0, np.clip(1.3 - margin / np.where(level, 1, slope), 0, 1))


def points_layer(X, y):
    """The points as Matplotlib draws them: the pixels that they cover, their colours, and how much."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(SIDE / 100, SIDE / 100), dpi=100, layout="none", facecolor="none")
        ax = figure.add_axes((0, 0, 1, 1))
        scatter(ax, X, y)
        ax.axis("off")
        layer = rendered(figure).reshape(-1, 4) / 255
    where = np.flatnonzero(layer[:, 3])
    return where, layer[where, :3], layer[where, 3:]


def rendered(figure):
    """Pixels of a figure, array of shape [height, width, 4] of bytes; closes it."""
    figure.canvas.draw()
    pixels = np.array(figure.canvas.buffer_rgba())
    plt.close(figure)
    return pixels


def draw_movie(path, name, moments, curve):
    """Writes the moving picture of a model's training.

    Args:
        path: of the GIF.
        name: of the model.
        moments: dicts of iteration, accuracy and pixels (see `boundary_pixels`), in the
            order of time.
        curve: iteration, loss, accuracy, array of shape [points, 3].
    """
    still, place = curve_picture(name, curve)
    font = ImageFont.truetype(
        f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 20, layout_engine=ImageFont.Layout.BASIC
    )
    frames = []
    for moment in moments:
        frame = Image.fromarray(still)
        frame.paste(Image.fromarray(moment["pixels"]), (LEFT, TOP))
        draw = ImageDraw.Draw(frame)
        draw.text((LEFT, TOP - 14), f"iteration {moment['iteration']:,}", "#222222", font, anchor="ls")
        draw.text((LEFT + SIDE, TOP - 14), f"{moment['accuracy']:.0%} right", "#222222", font, anchor="rs")
        column, row = place(moment["iteration"])
        draw.ellipse((column - 6, row - 6, column + 6, row + 6), MODEL_COLORS[name], "#222222", 2)
        frames.append(np.asarray(frame))
    write_gif(path, frames, [6 * TURN, *[TURN] * (len(frames) - 2), HOLD])


def curve_picture(name, curve):
    """What stands still, [HEIGHT, WIDTH, 3], and a function from an iteration to its pixel on the curve."""
    last = curve[-1, 0]
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, layout="none")
        ax = figure.add_axes((500 / WIDTH, 78 / HEIGHT, 346 / WIDTH, (SIDE - 54) / HEIGHT))
        ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ax.plot(curve[:, 0], curve[:, 1], color=MODEL_COLORS[name], linewidth=1)
        ax.set(xlim=(0, last), ylim=(0, None), ylabel="loss", xlabel="iteration (square-root scale)")
        ax.set_xticks([round(last * part) for part in (0, 0.01, 0.1, 0.25, 0.5, 1)])
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_title(TITLES[name], loc="left")
        still = rendered(figure)[..., :3]

    def place(iteration):
        column, row = ax.transData.transform((iteration, np.interp(iteration, curve[:, 0], curve[:, 1])))
        return round(column), round(HEIGHT - row)

    return still, place


def write_gif(path, frames, milliseconds):
    """Writes frames, arrays [height, width, 3] of bytes, in the COLORS colours that cover most of them."""
    codes = []  # 6 bits of each colour
    for frame in frames:
        red, green, blue = np.moveaxis(frame.astype(np.int32) >> 2, -1, 0)
        codes.append(red << 12 | green << 6 | blue)
    counts = sum(np.bincount(code.ravel(), minlength=64**3) for code in codes)
    seen = np.flatnonzero(counts)
    rgb = (np.stack([seen >> 12, seen >> 6 & 63, seen & 63], axis=1) * 255 + 31) // 63
    kept = rgb[np.argsort(-counts[seen], kind="stable")[:COLORS]]
    nearest = np.zeros(64**3, np.uint8)
    for begin in range(0, len(seen), 1000):
        part = slice(begin, begin + 1000)
        nearest[seen[part]] = np.argmin(np.sum((rgb[part, None] - kept) ** 2, axis=2), axis=1)
    images = []
    for code in codes:
        image = Image.fromarray(nearest[code]).convert("P")
        image.putpalette(kept.astype(np.uint8).tobytes())
        images.append(image)
    with replacing(path) as temporary:
        images[0].save(temporary, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True)


def write_frame(path, pixels):
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)
