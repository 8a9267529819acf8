"""Stage report: all models side by side, as figures and on one page -> reports/."""

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pictures import pages
from pictures.explorer import why_page_cannot_train
from pictures.matplotlib_setup import isolate_matplotlib
from pictures.report_page import report_page
from pipeline import files, paths
from pipeline.declared import check_models
from pipeline.errors import exit_on_user_error
from pipeline.params import Params, load_params, used_params
from pipeline.runtime import set_up_runtime
from portable.arithmetic import FloatArray, IntArray
from spirals.data import NAME
from spirals.models import MODELS

PACKAGES = ("numpy", "matplotlib", "pillow", "dvc", "mlflow")  # whose versions are shown
EXPLORER_NOTE = (
    "The interactive form of this page, in one file that opens from disk: `reports/report.html`.\n"
)


@dataclass(frozen=True)
class Published:
    """The parameters, data and numbers of the case study.

    Attributes:
        sections: its parameters, by section and key.
        md5: of its data files, by path.
        accuracy: on the training set by model, as printed.
        losses: by model and iteration, as printed.
    """

    sections: dict[str, dict[str, Any]]
    md5: dict[str, str]
    accuracy: dict[str, Any]
    losses: dict[str, dict[int, str]]


@dataclass(frozen=True)
class LossRow:
    """A loss that the case study prints, beside the one of this training."""

    title: str  # of the model
    iteration: int
    here: str
    published: str

    @property
    def equal(self) -> bool:
        """Whether all printed digits are the same."""
        return self.here == self.published


@dataclass(frozen=True)
class Difference:
    """A parameter, or the hash of a file, that is not the case study's own."""

    key: str
    here: Any  # None if the parameter no longer exists
    published: Any


def report(params: Params, root: Path) -> None:
    """Write the figures, the metrics of all models and both reports.

    Args:
        params: all parameters that the results were made with.
        root: of the checkout, where the other stages wrote.
    """
    check_models(paths.ROOT)
    metrics = {}
    curves = {}
    for name in MODELS:
        metrics[name] = files.read_metrics(root / paths.metrics(name), name)
        curves[name] = files.read_curve(root / paths.curve(name))
    files.write_json(root / paths.METRICS, metrics, indent=2)
    draw_figures(params.plot.dpi, root, curves)
    markdown = write_markdown(params, metrics, curves, root)
    files.write_text(root / paths.REPORT, markdown)
    page = report_page(markdown.replace(EXPLORER_NOTE, ""), root, params)
    files.write_text(root / paths.REPORT_PAGE, page)


def draw_figures(dpi: int, root: Path, curves: dict[str, FloatArray]) -> None:
    """Draw the figures of all models."""
    from pictures import figures  # imports Matplotlib: after isolate_matplotlib

    X, y = files.read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    confusions = {}
    boundaries = []
    for name in MODELS:
        confusions[name] = read_confusions(name, classes, root)
        boundaries.append(root / paths.picture(name, "boundary"))
    results = figures.Results(X, y, curves, confusions, boundaries)
    for name, figure in figures.REPORT_FIGURES.items():
        figure.draw(root / paths.FIGURES / f"{name}.png", results, dpi)


def read_confusions(name: str, classes: int, root: Path) -> IntArray:
    """Return the confusion matrix of a model, [actual, predicted]."""
    pairs = files.read_confusion(root / paths.confusion(name), classes)
    index = pairs[:, 0] * classes + pairs[:, 1]
    return np.bincount(index, minlength=classes**2).reshape(classes, classes)


def write_markdown(
    params: Params,
    metrics: dict[str, dict[str, float]],
    curves: dict[str, FloatArray],
    root: Path,
) -> str:
    """Return the report in Markdown: the template report.md, filled in."""
    from pictures.figures import REPORT_FIGURES  # imports Matplotlib: after isolate_matplotlib

    published = read_published(paths.ROOT)
    sections = msgspec.to_builtins(params)
    differences = find_differences(sections, published, root)
    comparable = comparable_models(published, differences)
    losses = compare_losses(comparable, published, curves)
    return pages.render(
        "report.md",
        name=NAME,
        models=MODELS,
        params=sections,
        test_points=len(files.read_points(root / paths.TEST)[1]),
        metrics=metrics,
        curves=curves,
        comparable=comparable,
        published_accuracy=published.accuracy,
        losses=losses,
        differences=differences,
        figures=REPORT_FIGURES,
        versions=read_versions(paths.ROOT),
        explorer_note=EXPLORER_NOTE,
    )


def find_differences(
    sections: dict[str, dict[str, Any]], published: Published, root: Path
) -> list[Difference]:
    """Return where the parameters or the training set are not the case study's own."""
    differences = []
    for section, values in published.sections.items():
        for key, value in values.items():
            here = sections.get(section, {}).get(key)
            if here != value:
                differences.append(Difference(f"{section}.{key}", here, value))
    for path, md5 in published.md5.items():
        content = (root / path).read_bytes()
        here = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if here != md5:
            differences.append(Difference(f"md5.{path}", here, md5))
    return differences


def comparable_models(published: Published, differences: Iterable[Difference]) -> list[str]:
    """Return the models that have the case study's own parameters and training set."""
    changed = {difference.key.partition(".")[0] for difference in differences}
    if "md5" in changed:
        return []
    return [name for name in published.accuracy if f"train_{name}" not in changed]


def compare_losses(
    models: Iterable[str], published: Published, curves: dict[str, FloatArray]
) -> list[LossRow]:
    """Return the losses of these models at the iterations that the case study prints."""
    rows = []
    for name in models:
        recorded = {int(iteration): f"{loss:f}" for iteration, loss, _ in curves[name]}
        for iteration, loss in published.losses[name].items():
            if iteration in recorded:
                rows.append(LossRow(MODELS[name].title, iteration, recorded[iteration], loss))
    return rows


def read_published(root: Path) -> Published:
    """Return the parameters and numbers of the case study, which lie in reference/."""
    path = root / paths.PUBLISHED_PARAMS
    with files.file_errors(path, files.RESTORE):
        content = {section: dict(values) for section, values in files.read_yaml(path).items()}
        accuracy = content.pop("accuracy")
        md5 = content.pop("md5")
    losses = read_published_losses(root / paths.PUBLISHED, accuracy)
    return Published(content, md5, accuracy, losses)


def read_published_losses(path: Path, models: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return the losses of these models as the case study prints them, by iteration."""
    losses: dict[str, dict[int, str]] = {name: {} for name in models}
    with files.file_errors(path, files.RESTORE):
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            losses[row["model"]][int(row["iteration"])] = f"{float(row['loss']):f}"
        if not all(losses.values()):
            raise ValueError(f"it must have losses of {' and '.join(losses)}")
    return losses


def read_versions(root: Path) -> dict[str, str]:
    """Return the locked versions of PACKAGES."""
    path = root / paths.REQUIREMENTS
    with files.file_errors(path, files.RESTORE):
        lock = path.read_text(encoding="utf-8")
        locked = dict(re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE))
        return {name: locked[name] for name in PACKAGES}


def main() -> None:
    set_up_runtime()
    isolate_matplotlib()
    params = used_params(load_params(paths.ROOT), paths.ROOT)
    report(params, paths.ROOT)
    print(f"the results on one page -> {paths.REPORT_PAGE}, {paths.REPORT}")
    reason = why_page_cannot_train(paths.ROOT, params)
    if reason:
        print(f"note: {reason} It shows the recorded training only.")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
