"""Stage plot: what the others wrote, as pictures -> reports/figures/ and data/frames/."""

import numpy as np

from spirals import figures, movie, paths
from spirals.errors import plain_errors
from spirals.files import read_curve, read_pairs, read_points, read_snapshots, read_weights
from spirals.models import MODELS, accuracy
from spirals.params import load_params

FRAME_CELLS = 100  # cells of a frame's grid along each axis; it is drawn larger
MOVIE = "mlp"  # the model that the moving picture shows


def plot(params, root):
    """Draws every picture; `params` is the section plot. Returns the paths of the figures."""
    X, y = read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    panels, curves, counts = [], {}, {}
    for name, model in MODELS.items():
        curves[name] = read_curve(root / paths.curve(name))
        pairs = read_pairs(root / paths.confusion(name), classes)
        counts[name] = np.bincount(pairs @ (classes, 1), minlength=classes**2).reshape(classes, classes)
        weights = read_weights(root / paths.weights(name), classes)
        scores, _ = model.forward(weights, X)
        panels.append(
            {
                "name": name,
                "path": root / paths.boundary(name),
                "probabilities": figures.grid_probabilities(model, weights, figures.limit(X), params.grid),
                "predicted": np.argmax(scores, axis=1),
                "accuracy": accuracy(scores, y),
            }
        )

    draw_training(root, X, y, curves)
    folder = root / paths.FIGURES
    figures.draw_data(folder / "data.png", X, y, params.dpi)
    figures.draw_losses(folder / "losses.png", curves, params.dpi)
    figures.draw_boundaries(folder / "boundaries.png", panels, X, y, params.dpi)
    figures.draw_confusions(folder / "confusions.png", counts, params.dpi)
    for name, curve in curves.items():
        figures.draw_losses(root / paths.loss(name), {name: curve}, params.dpi)
    return sorted(path for path in folder.iterdir() if path.suffix in (".gif", ".png"))


def draw_training(root, X, y, curves):
    """Each model at moments of its training: frames of the slider in MLflow, and the moving picture."""
    lim, points = figures.limit(X), movie.points_layer(X, y)
    for name, model in MODELS.items():
        snapshots = read_snapshots(root / paths.snapshots(name), name, len(np.unique(y)))
        percents = {at["permille"] // 10: at["iteration"] for at in snapshots if at["permille"] % 10 == 0}
        drawn = [at for at in snapshots if name == MOVIE or at["permille"] % 10 == 0]
        moments = {at["iteration"]: at for at in drawn}  # a short training has several at one iteration
        for at in moments.values():
            probabilities = figures.grid_probabilities(model, at["weights"], lim, FRAME_CELLS)
            at["pixels"] = movie.boundary_pixels(probabilities, points)
        images = movie.with_palette([moments[iteration]["pixels"] for iteration in percents.values()], most=256)
        for percent, image in zip(percents, images, strict=True):
            figures.write_image(image, root / paths.frame(name, percent), movie.DPI)
        if name == MOVIE:
            movie.draw_movie(root / paths.LEARNING, name, list(moments.values()), curves[name])


def main():
    drawn = plot(load_params(paths.ROOT).plot, paths.ROOT)
    print(f"{len(drawn)} pictures -> {paths.FIGURES}/; the net learning: {paths.LEARNING}")


if __name__ == "__main__":
    with plain_errors():
        main()
