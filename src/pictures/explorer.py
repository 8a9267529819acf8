"""The training as a page to take hold of: the weights of every model at its kept moments, and what draws them.

The page computes the boundaries itself, from the very doubles that NumPy had (explorer.js). The HTML
around them is complete before the script runs, so that nothing moves while the page loads.
"""

import base64
import json

import numpy as np

from pictures import pages
from pictures.palette import (
    MARKERS,
    PALE,
    PALETTE,
    TINT,
    class_colors,
    limit,
    marker_size,
    thinning,
)
from pipeline import paths
from pipeline.files import read_curve, read_points, read_snapshots
from spirals.models import MODELS
from spirals.training import SNAPSHOT_PERMILLES

STYLE, SCRIPT = pages.read_text("explorer.css"), pages.read_text("explorer.js")
MOST_WEIGHTS = 900_000  # characters of all the weights on the page
MOST_CURVE = 1000  # points of a curve
MOST_LINES = 100  # of hidden units
GOOD = 0.9  # share of the points right, at a moment worth dragging to


def explorer(root, room):
    """The part of the page to explore the models, in at most `room` characters; it says which weights do not fit."""
    X, y = read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    shown = np.concatenate([np.flatnonzero(y == k)[:: thinning(len(y))] for k in range(classes)])
    common = {
        "limit": limit(X),
        "colors": class_colors(classes).round(6).tolist(),
        "markers": MARKERS,
        "pale": PALE,
        "tint": TINT,
        "mostLines": MOST_LINES,
        "points": {
            "x": text64(X[shown].T),
            "y": text64(y[shown], np.uint8),
            "area": marker_size(len(y)),
        },
    }
    curves = {name: read_curve(root / paths.curve(name)) for name in MODELS}
    plain = {name: _curve(curve) for name, curve in curves.items()}
    room -= len(json.dumps([common, plain])) + len(STYLE) + len(SCRIPT)
    room -= (
        8000 + len(MODELS) * len(SNAPSHOT_PERMILLES) * 130
    )  # the HTML, and moments without their weights
    room = max(0, min(room, MOST_WEIGHTS))
    models = {}
    for name in sorted(MODELS, key=lambda name: (root / paths.snapshots(name)).stat().st_size):
        most = room * 3 // 4 // 8  # doubles: 8 bytes, and 4 characters for 3 of these
        snapshots = _read(root / paths.snapshots(name), name, classes, most)
        if kept := _kept(snapshots, most):
            models[name] = _model(name, kept, len(snapshots), curves[name], plain[name])
            room -= len(models[name]["weights"])
    left_out = [model.title for name, model in MODELS.items() if name not in models]
    models = [models[name] for name in MODELS if name in models]
    return pages.render(
        "explorer.html",
        style=STYLE,
        models=models,
        left_out=left_out,
        thinning=thinning(len(y)),
        most_lines=MOST_LINES,
        advice=to_try(models) if models else "",
        legend=range(classes) if classes <= len(PALETTE) else (),
        rows=range(min(classes, 4)),  # whose probabilities are told at once
        data=json.dumps({**common, "models": models}, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
        script=SCRIPT,
    )


def text64(array, kind="<f8"):
    """The numbers to their last bit: little-endian doubles (or of another kind), row after row, as base64."""
    return base64.b64encode(array.astype(kind).tobytes()).decode()


def layers(weights):
    """Pairs of matrix [inputs, units] and biases [units], in order; none where they are no chain W, b, W2, b2 ..."""
    names = [("W", "b"), *((f"W{n}", f"b{n}") for n in range(2, len(weights) // 2 + 1))]
    if {*weights} != {name for pair in names for name in pair}:
        return []
    return [(weights[matrix], weights[bias]) for matrix, bias in names]


def _read(path, name, classes, most):
    """The snapshots; none of them where one alone is more than `most` numbers, which may take minutes to read."""
    if path.stat().st_size > 26 * most * len(
        SNAPSHOT_PERMILLES
    ):  # characters of the longest number, with its comma
        return []
    return [vars(s) | {"weights": s.model.weights} for s in read_snapshots(path, name, classes)]


def _kept(snapshots, most):
    """The snapshots that fit into `most` numbers: all, or some of them evenly, among them the first and the last."""
    if not snapshots or not layers(snapshots[-1]["weights"]):
        return []
    fit = min(
        len(snapshots), int(most // sum(value.size for value in snapshots[-1]["weights"].values()))
    )
    back = np.linspace(
        0, len(snapshots) - 1, fit
    ).tolist()  # from the last on: where but one fits, it is that
    return [snapshots[-1 - round(steps)] for steps in reversed(back)]


def _curve(curve):
    """A curve with so few points that it may be drawn at once; of a longer one the peaks in every part."""
    if len(curve) > MOST_CURVE:
        parts = np.array_split(np.arange(len(curve)), MOST_CURVE // 2)
        peaks = [
            part[extreme(curve[part, 1])] for part in parts for extreme in (np.argmin, np.argmax)
        ]
        curve = curve[np.unique([0, *peaks, len(curve) - 1])]
    return {"iteration": text64(curve[:, 0]), "loss": text64(curve[:, 1])}


def _model(name, kept, count, curve, plain):
    """What the page knows about a model. The loss of a moment is the one recorded nearest to it."""
    moments = []
    for at in kept:
        iteration, loss, _ = curve[np.argmin(np.abs(curve[:, 0] - at["iteration"]))].tolist()
        moment = {key: at[key] for key in ("permille", "iteration", "accuracy")}
        moments.append({**moment, "loss": loss, "lossAt": int(iteration)})
    chain = [layers(at["weights"]) for at in kept]
    return {
        "name": name,
        "title": MODELS[name].title,
        "sizes": [len(chain[0][0][0]), *(len(bias) for _, bias in chain[0])],
        "moments": moments,
        "of": count,
        "curve": plain,
        "weights": text64(
            np.concatenate([part.ravel() for at in chain for pair in at for part in pair])
        ),
    }


def to_try(models):
    """A sentence with a moment to drag to: from there on the best model has most of the points right."""
    best = max(models, key=lambda model: model["moments"][-1]["accuracy"])
    moments = best["moments"]
    below = [i for i, moment in enumerate(moments) if moment["accuracy"] < GOOD]
    if not below or below[-1] == len(moments) - 1:
        return "Play the training, or drag it. "
    iteration, title = (
        moments[below[-1] + 1]["iteration"],
        best["title"][0].lower() + best["title"][1:],
    )
    told = f"there, and at every later moment kept, at least {GOOD:.0%} of the points are right"
    return f"Play the training, or drag it to iteration {iteration:,} of the {title}: {told}. "
