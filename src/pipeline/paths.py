"""Where everything lies, relative to the root of the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
PUBLISHED = Path("reference/published.csv")
PUBLISHED_PARAMS = Path("reference/published.yaml")
REQUIREMENTS = Path("requirements.lock")
DATA = Path("data/spirals.csv")  # trained on
FRESH = Path("data/fresh.csv")  # tested on
DATA_HEADER = ("x1", "x2", "label")
CURVE_HEADER = ("iteration", "loss", "accuracy")
CONFUSION_HEADER = ("actual", "predicted")
MODELS = Path("reports/models")  # a folder for each
METRIC_NAMES = ("train_accuracy", "train_loss", "test_accuracy")
METRICS = Path("reports/metrics.json")  # of all models
FIGURES = Path("reports/figures")  # of all models
REPORT = Path("reports/README.md")
REPORT_PAGE = Path("reports/report.html")


def weights(model):
    return Path(f"data/{model}/weights.json")


def curve(model):
    return Path(f"data/{model}/curve.csv")


def snapshots(model):
    return Path(f"data/{model}/snapshots.json")


def metrics(model):
    return MODELS / model / "metrics.json"


def confusion(model):
    return MODELS / model / "confusion.csv"


def frame(model, percent):
    return MODELS / f"{model}/frames/{percent:03}.png"


def picture(model, kind):
    """The picture boundary, loss or confusion of one model."""
    return MODELS / f"{model}/{kind}.png"


def learning(model):
    return MODELS / model / "learning.gif"


def shown(path):
    """A path as it is written in messages: relative to the checkout where it lies in it."""
    path = Path(path)
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def diverged_curve(model, experiment):
    """In the main checkout: the one of a queued experiment is thrown away."""
    return main_root() / f"diverged/{model}_{experiment.replace('/', '_')}.csv"


def main_root():
    """Root of the checkout that the user works in.

    `dvc exp run --temp`, the queue and the workers of a sweep run in throw-away checkouts
    below the main one's `.dvc/tmp/exps`; what has to outlive those belongs to the main one.
    """
    for folder in ROOT.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return ROOT
