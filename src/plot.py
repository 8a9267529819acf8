"""Stages plot@MODEL: the pictures of one model -> reports/models/MODEL/."""

from pathlib import Path

import numpy as np

from pictures.matplotlib_setup import isolate_matplotlib
from pictures.palette import half_width
from pipeline import paths
from pipeline.errors import exit_on_user_error
from pipeline.files import read_curve, read_model, read_points, read_snapshots
from pipeline.params import Plot, load_params, model_argument
from pipeline.runtime import set_up_runtime
from spirals.models import accuracy

FRAME_CELLS = 100  # cells of a frame's grid along each axis; it is drawn larger


def plot(name: str, params: Plot, root: Path) -> None:
    """Draw every picture of a model.

    Args:
        name: of the model.
        params: the section plot of params.yaml.
        root: of the checkout.
    """
    from pictures import animation, figures  # they import Matplotlib: after isolate_matplotlib

    X, y = read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    curve = read_curve(root / paths.curve(name))
    model = read_model(root / paths.weights(name), name, classes)
    snapshots = read_snapshots(root / paths.snapshots(name), name, classes)

    frames = animation.draw_frames(snapshots, X, y, FRAME_CELLS)
    for percent, image in animation.draw_slider(snapshots, frames).items():
        figures.write_image(image, root / paths.frame(name, percent), animation.DPI)
    animation.draw_animation(root / paths.learning(name), name, frames, curve)

    scores, _ = model.forward(X)
    figures.draw_boundary(
        root / paths.picture(name, "boundary"),
        X,
        y,
        title=f"{model.title}: {accuracy(scores, y):.0%} training accuracy",
        predicted=np.argmax(scores, axis=1),
        probabilities=figures.grid_probabilities(model, half_width(X), params.grid),
        dpi=params.dpi,
    )
    figures.draw_losses(root / paths.picture(name, "loss"), {name: curve}, params.dpi)


def main() -> None:
    set_up_runtime()
    isolate_matplotlib()
    name = model_argument(__doc__)
    plot(name, load_params(paths.ROOT).plot, paths.ROOT)
    print(f"decision boundary, loss and the animation of the training -> {paths.MODELS / name}/")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
