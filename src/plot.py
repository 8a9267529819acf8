"""Stages plot@MODEL: the pictures of one model -> reports/models/MODEL/."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pictures import figures, movie
from pipeline import paths
from pipeline.errors import exit_on_user_error
from pipeline.files import read_curve, read_model, read_points, read_snapshots
from pipeline.params import load_params, model_argument
from pipeline.runtime import avoid_copies_of_short_rows, set_up_runtime
from spirals.models import accuracy

FRAME_CELLS = 100  # cells of a frame's grid along each axis; it is drawn larger


def plot(name, params, root):
    """Draws every picture of a model; `params` is the section plot."""
    X, y = read_points(root / paths.DATA)
    classes, lim = int(y.max()) + 1, figures.limit(X)
    curve = read_curve(root / paths.curve(name))
    model = read_model(root / paths.weights(name), name, classes)
    snapshots = [vars(s) for s in read_snapshots(root / paths.snapshots(name), name, classes)]
    moments = {
        at["iteration"]: at for at in snapshots
    }  # a short training has several at one iteration
    points = movie.points_layer(X, y)

    def pixels(at):
        return movie.boundary_pixels(
            figures.grid_probabilities(at["model"], lim, FRAME_CELLS), points
        )

    with ThreadPoolExecutor(2, initializer=avoid_copies_of_short_rows) as pool:
        for at, picture in zip(moments.values(), pool.map(pixels, moments.values()), strict=True):
            at["pixels"] = picture
    draw_training(name, root, snapshots, moments, curve)
    scores, _ = model.forward(X)
    title = f"{model.title}: {accuracy(scores, y):.0%} training accuracy"
    probabilities = figures.grid_probabilities(model, lim, params.grid)
    boundary = root / paths.picture(name, "boundary")
    figures.draw_boundary(
        boundary, title, probabilities, np.argmax(scores, axis=1), X, y, params.dpi
    )
    figures.draw_losses(root / paths.picture(name, "loss"), {name: curve}, params.dpi)


def draw_training(name, root, snapshots, moments, curve):
    """The model at moments of its training: frames of the slider in MLflow, and the moving picture."""
    percents = {
        at["permille"] // 10: at["iteration"] for at in snapshots if at["permille"] % 10 == 0
    }
    images = movie.with_palette(
        [movie.frame(moments[iteration]) for iteration in percents.values()], most=256
    )
    for percent, image in zip(percents, images, strict=True):
        figures.write_image(image, root / paths.frame(name, percent), movie.DPI)
    movie.draw_movie(root / paths.learning(name), name, list(moments.values()), curve)


def main():
    set_up_runtime()
    name = model_argument(__doc__)
    plot(name, load_params(paths.ROOT).plot, paths.ROOT)
    print(f"boundary, loss and the training as a moving picture -> {paths.MODELS / name}/")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
