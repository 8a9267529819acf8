"""Where everything lies, relative to the root of the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
PUBLISHED = Path("reference/published.csv")
PUBLISHED_PARAMS = Path("reference/published.yaml")
REQUIREMENTS = Path("requirements.lock")
DATA = Path("data/spirals.csv")
DATA_HEADER = ("x1", "x2", "label")
CURVE_HEADER = ("iteration", "loss", "accuracy")
CONFUSION_HEADER = ("actual", "predicted")
METRICS = Path("reports/metrics.json")
METRIC_NAMES = ("train_accuracy", "train_loss", "test_accuracy")
FRAMES = Path("data/frames")
FIGURES = Path("reports/figures")
REPORT = Path("reports/README.md")
REPORT_PAGE = Path("reports/report.html")
LEARNING = FIGURES / "learning.gif"
CACHE = Path(".dvc/cache/files/md5")
STORE = Path("mlflow.db")
ARTIFACTS = Path("mlruns")
RECEIPT = Path("mlruns/receipt.json")


def weights(model):
    return Path(f"data/{model}.json")


def curve(model):
    return Path(f"data/{model}_curve.csv")


def snapshots(model):
    return Path(f"data/{model}_snapshots.json")


def confusion(model):
    return Path(f"reports/{model}_confusion.csv")


def frame(model, percent):
    return FRAMES / f"{model}/{percent:03}.png"


def boundary(model):
    return FIGURES / f"boundary_{model}.png"


def loss(model):
    return FIGURES / f"loss_{model}.png"


def shown(path):
    """A path as it is written in messages: relative to the checkout where it lies in it."""
    path = Path(path)
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def diverged_curve(model, experiment):
    """In the main checkout: the one of a queued experiment is thrown away."""
    return main_root() / f"data/diverged/{model}_{experiment.replace('/', '_')}.csv"


def main_root():
    """Root of the checkout that the user works in.

    `dvc exp run --temp`, the queue and the workers of a sweep run in throw-away checkouts
    below the main one's `.dvc/tmp/exps`; what has to outlive those belongs to the main one.
    """
    for folder in ROOT.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return ROOT
