"""The colours, markers, sizes and limits that all pictures of the data share, and the page as well.

Nothing here needs Matplotlib.
"""

import numpy as np

from portable.arithmetic import FloatArray

# Colours of Okabe and Ito (2008), which the colour-blind can tell apart; each class has a marker of
# its own as well.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
# The share of its class's colour in a region: at the decision boundary, and at most.
PALE = 0.12
TINT = 0.55
# Area of a point's marker, square points (1/72 inch) in a panel 4.4 inches wide.
LARGEST = 22
SMALLEST = 5
DRAWN_POINTS = 3000  # in one figure, or a few more


def class_colors(classes: int) -> FloatArray:
    """Return the RGB colours of the classes, [classes, 3], from 0 to 1.

    Beyond eight the palette begins again, lighter.
    """
    rows = []
    for k in range(classes):
        color = PALETTE[k % len(PALETTE)]
        rows.append([int(color[start : start + 2], 16) for start in (1, 3, 5)])
    rgb = np.array(rows) / 255
    rounds = 1 + (classes - 1) // len(PALETTE)
    lighter = (np.arange(classes) // len(PALETTE) / rounds)[:, None]
    return rgb + (1 - rgb) * lighter


def half_width(X: FloatArray) -> float:
    """Return half the width of a square around the origin that holds all points [N, 2]."""
    return 1.1 * float(np.max(np.abs(X)))  # with a margin


def thinning(count: int) -> int:
    """Return n where one in n of `count` points is drawn."""
    return -(-count // DRAWN_POINTS)


def marker_size(count: int) -> float:
    """Return the area of a point's marker, square points: smaller where many points are drawn."""
    return min(LARGEST, max(SMALLEST, LARGEST * 600 * thinning(count) / count))
