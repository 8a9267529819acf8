"""Stage generate: points on spirals -> data/spirals.csv to train on, and fresh ones -> data/test.csv to test with."""

from pipeline import paths
from pipeline.errors import exit_on_user_error
from pipeline.files import write_csv
from pipeline.params import load_params
from spirals.data import make_spirals


def generate(params, root):
    """Writes both data sets; returns the number of points in each. `params` are all of them."""
    data, fresh = params.generate, params.evaluate
    trained = make_spirals(
        data.points_per_class, data.classes, data.noise, data.seed, data.skip_draws
    )
    tested = make_spirals(fresh.points_per_class, data.classes, data.noise, fresh.seed)
    for path, (X, y) in {paths.DATA: trained, paths.TEST: tested}.items():
        rows = [(x1, x2, label) for (x1, x2), label in zip(X.tolist(), y.tolist(), strict=True)]
        write_csv(root / path, paths.DATA_HEADER, rows)
    return len(trained[1]), len(tested[1])


def main():
    params = load_params(paths.ROOT)
    made, fresh = generate(params, paths.ROOT)
    print(
        f"{made:,} points in {params.generate.classes} classes -> {paths.DATA}; {fresh:,} fresh -> {paths.TEST}"
    )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
