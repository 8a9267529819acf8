"""What every picture of the data has in common, on paper and in the browser; nothing here needs Matplotlib."""

import numpy as np

# Colours of Okabe and Ito (2008), told apart by the colour-blind; each class has a marker of its own as well.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
PALE, TINT = (
    0.12,
    0.55,
)  # how much of its colour a class gives to its region: near the border, and at most
LARGEST, SMALLEST = 22, 5  # of a point, square points (1/72 inch) in a panel 4.4 inches wide


def class_colors(classes):
    """RGB colours, array of shape [classes, 3]; beyond eight the palette begins again, lighter."""
    rgb = np.array([[*bytes.fromhex(PALETTE[k % len(PALETTE)][1:])] for k in range(classes)]) / 255
    lighter = (np.arange(classes) // len(PALETTE) / (1 + (classes - 1) // len(PALETTE)))[:, None]
    return rgb + (1 - rgb) * lighter


def limit(X):
    """Half the width of a square around the origin that holds every point, with a margin."""
    return 1.1 * float(np.max(np.abs(X)))


def thinning(count):
    """Every which of `count` points is drawn: some 3000 in one figure."""
    return -(-count // 3000)


def marker_size(count):
    """Area of a point's marker, square points: smaller where many of the `count` points are drawn."""
    return min(LARGEST, max(SMALLEST, LARGEST * 600 * thinning(count) / count))
