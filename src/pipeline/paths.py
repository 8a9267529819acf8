"""Where everything lies, relative to the root of the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
PUBLISHED = Path("reference/published.csv")
PUBLISHED_PARAMS = Path("reference/published.yaml")
REQUIREMENTS = Path("requirements.lock")
DATA = Path("data/spirals.csv")  # trained on
TEST = Path("data/test.csv")  # tested on
DATA_HEADER = ("x1", "x2", "label")
CURVE_HEADER = ("iteration", "loss", "accuracy")
CONFUSION_HEADER = ("actual", "predicted")
MODELS = Path("reports/models")  # a folder for each
METRIC_NAMES = ("train_accuracy", "train_loss", "test_accuracy")
METRICS = Path("reports/metrics.json")  # of all models
FIGURES = Path("reports/figures")  # of all models
REPORT = Path("reports/README.md")
REPORT_PAGE = Path("reports/report.html")


def _of_a_model(pattern):
    """A function that gives the path of a model, by its name and whatever else stands in the pattern."""
    return lambda *parts: Path(pattern.format(*parts))


weights = _of_a_model("data/{}/weights.json")
curve = _of_a_model("data/{}/curve.csv")
snapshots = _of_a_model("data/{}/snapshots.json")
metrics = _of_a_model("reports/models/{}/metrics.json")
confusion = _of_a_model("reports/models/{}/confusion.csv")
learning = _of_a_model("reports/models/{}/learning.gif")
picture = _of_a_model("reports/models/{}/{}.png")  # boundary or loss
frame = _of_a_model("reports/models/{}/frames/{:03}.png")  # by per cent of the training


def shown(path):
    """A path as it is written in messages: relative to the checkout where it lies in it."""
    path = Path(path)
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def diverged_curve(model, experiment):
    """In the main checkout: the one of a queued experiment is thrown away."""
    return main_root() / f"diverged/{model}_{experiment.replace('/', '_')}.csv"


def main_root():
    """Root of the checkout that the user works in: queue and sweep have throw-away ones below its `.dvc/tmp/exps`."""
    found = (
        folder.parents[2] for folder in ROOT.parents if folder.parts[-3:] == (".dvc", "tmp", "exps")
    )
    return next(found, ROOT)
