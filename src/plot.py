"""Stage plot: what the others wrote, as pictures -> reports/figures/ and data/frames/."""

import numpy as np

from spirals import figures, paths
from spirals.errors import plain_errors
from spirals.files import as_weights, read_csv, read_json, read_points, read_weights
from spirals.models import MODELS, accuracy
from spirals.params import load_params

FRAME_CELLS = 160  # cells of a frame along each axis; its picture has twice as many pixels


def plot(params, root):
    """Draws every figure; `params` is the section plot. Returns their paths."""
    X, y = read_points(root / paths.DATA)
    lim = figures.limit(X)
    panels, curves = [], {}
    for name, model in MODELS.items():
        curves[name] = read_csv(root / paths.curve(name), paths.CURVE_HEADER)
        weights = read_weights(root / paths.weights(name))
        scores, _ = model.forward(weights, X)
        panels.append(
            {
                "name": name,
                "probabilities": figures.grid_probabilities(model, weights, lim, params.grid),
                "predicted": np.argmax(scores, axis=1),
                "accuracy": accuracy(scores, y),
            }
        )
        for snapshot in read_json(root / paths.snapshots(name)):
            if snapshot["permille"] % 10:
                continue
            probabilities = figures.grid_probabilities(model, as_weights(snapshot["weights"]), lim, FRAME_CELLS)
            figures.write_frame(root / paths.frame(name, snapshot["permille"] // 10), probabilities, X, y, lim)

    folder = root / paths.FIGURES
    figures.draw_data(folder / "data.png", X, y, params.dpi)
    figures.draw_losses(folder / "losses.png", curves, params.dpi)
    figures.draw_boundaries(folder / "boundaries.png", panels, X, y, params.dpi)
    for panel in panels:
        name = panel["name"]
        figures.draw_losses(root / paths.loss(name), {name: curves[name]}, params.dpi)
        figures.draw_boundaries(root / paths.boundary(name), [panel], X, y, params.dpi)
    return sorted(folder.glob("*.png"))


def main():
    for path in plot(load_params(paths.ROOT).plot, paths.ROOT):
        print(path.relative_to(paths.ROOT))


if __name__ == "__main__":
    with plain_errors():
        main()
