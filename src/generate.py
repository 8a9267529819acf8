"""Stage generate: points on spirals -> data/spirals.csv."""

from spirals import paths
from spirals.data import make_spirals
from spirals.errors import plain_errors
from spirals.files import write_csv
from spirals.params import load_params


def generate(params, root):
    """Writes the data set; `params` is the section generate."""
    X, y = make_spirals(params.points_per_class, params.classes, params.noise, params.seed, params.skip_draws)
    rows = [(x1, x2, label) for (x1, x2), label in zip(X.tolist(), y.tolist(), strict=True)]
    write_csv(root / paths.DATA, paths.DATA_HEADER, rows)
    return X, y


def main():
    X, y = generate(load_params(paths.ROOT).generate, paths.ROOT)
    print(f"{len(X):,} points in 2 dimensions, {y[-1] + 1} classes -> {paths.DATA}")


if __name__ == "__main__":
    with plain_errors():
        main()
