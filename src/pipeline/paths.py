"""Where everything lies, relative to the root of the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
PUBLISHED = Path("reference/published.csv")
PUBLISHED_PARAMS = Path("reference/published.yaml")
REQUIREMENTS = Path("requirements.lock")

DATA = Path("data/spirals.csv")  # the training set
TEST = Path("data/test.csv")  # the test set
DATA_HEADER = ("x1", "x2", "label")
CURVE_HEADER = ("iteration", "loss", "accuracy")
CONFUSION_HEADER = ("actual", "predicted")
METRIC_NAMES = ("train_accuracy", "train_loss", "test_accuracy")

MODELS = Path("reports/models")  # a folder for each
METRICS = Path("reports/metrics.json")  # of all models
FIGURES = Path("reports/figures")  # of all models
REPORT = Path("reports/README.md")
REPORT_PAGE = Path("reports/report.html")


def weights(model: str) -> Path:
    """Return where the trained weights of a model lie."""
    return Path("data", model, "weights.json")


def curve(model: str) -> Path:
    """Return where the training curve of a model lies."""
    return Path("data", model, "curve.csv")


def snapshots(model: str) -> Path:
    """Return where the snapshots of a model lie."""
    return Path("data", model, "snapshots.json")


def metrics(model: str) -> Path:
    """Return where the metrics of a model lie."""
    return MODELS / model / "metrics.json"


def confusion(model: str) -> Path:
    """Return where the actual and predicted classes of the test set lie."""
    return MODELS / model / "confusion.csv"


def learning(model: str) -> Path:
    """Return where the animation of a model's training lies."""
    return MODELS / model / "learning.gif"


def picture(model: str, name: str) -> Path:
    """Return where a picture of a model lies; its name is boundary or loss."""
    return MODELS / model / f"{name}.png"


def frame(model: str, percent: int) -> Path:
    """Return where the picture of a model after so many per cent of its training lies."""
    return MODELS / model / "frames" / f"{percent:03}.png"


def shown(path: Path | str) -> Path:
    """Return a path as messages write it: relative to the checkout, if it lies in it."""
    path = Path(path)
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main_root() -> Path:
    """Return the root of the checkout that the user works in.

    Queued and `--temp` experiments run in throw-away checkouts below its `.dvc/tmp/exps`.
    """
    for folder in ROOT.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return ROOT


def diverged_curve(model: str, experiment: str) -> Path:
    """Return where the curve of a diverged training is kept.

    It lies in the main checkout: the one of a queued experiment is thrown away.
    """
    name = experiment.replace("/", "_")
    return main_root() / "diverged" / f"{model}_{name}.csv"
