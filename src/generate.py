"""Stage generate: points on spirals -> data/spirals.csv, the training set, and data/test.csv."""

from pathlib import Path

from pipeline import paths
from pipeline.errors import exit_on_user_error
from pipeline.files import write_csv
from pipeline.params import Params, load_params
from pipeline.runtime import set_up_runtime
from portable.arithmetic import FloatArray, IntArray
from spirals.data import make_spirals


def generate(params: Params, root: Path) -> tuple[int, int]:
    """Write the training set and the test set; return the number of points in each."""
    data = params.generate
    test = params.evaluate
    X, y = make_spirals(data.points_per_class, data.classes, data.noise, data.seed, data.skip_draws)
    test_X, test_y = make_spirals(test.points_per_class, data.classes, data.noise, test.seed)
    write_points(root / paths.DATA, X, y)
    write_points(root / paths.TEST, test_X, test_y)
    return len(y), len(test_y)


def write_points(path: Path, X: FloatArray, y: IntArray) -> None:
    """Write points X [N, 2] with their classes y [N]."""
    rows = []
    for (x1, x2), label in zip(X.tolist(), y.tolist(), strict=True):
        rows.append((x1, x2, label))
    write_csv(path, paths.DATA_HEADER, rows)


def main() -> None:
    set_up_runtime()
    params = load_params(paths.ROOT)
    points, test_points = generate(params, paths.ROOT)
    classes = params.generate.classes
    print(f"training set: {points:,} points in {classes} classes -> {paths.DATA}")
    print(f"test set: {test_points:,} points -> {paths.TEST}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
