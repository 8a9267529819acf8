"""Write the page as HTML: how the settings of each model differ, and their results."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from compare.charts import Chart, Curve, accuracy_chart, loss_chart
from compare.experiments import Experiment
from compare.settings import Comparison, Setting, compare, is_of_data, short_names
from pictures.pages import render
from pictures.scales import format_value
from pipeline import paths
from spirals.models import MODELS

FOLDER = Path(__file__).parent

# The colours of settings, in the order of their values, from the first to the last: for a light and
# a dark page. None of them is the colour of a class. The committed setting has the text's colour.
LIGHT = ["#3d0f74", "#7a2a95", "#b3378a", "#d9466b", "#dd5a3c"]
DARK = ["#a48bff", "#cb86ec", "#f083c6", "#ff8f9f", "#ffb08a"]
OTHERS = "#84888c"  # of many settings all but the best and the committed one
MAX_COLORS = 8
MAX_NAMED = 4  # settings that a sentence names


@dataclass(frozen=True)
class Row:
    """A setting on the page.

    Attributes:
        setting: the setting.
        marks: "best", "committed" or both.
        words: marks and label, as one text.
        accuracy: the median test accuracy, with the range.
        loss: the median training loss.
        values: of the parameters that differ.
        picture: the decision boundary of the result in the middle, as an address; None where DVC's
            cache does not have it.
    """

    setting: Setting
    marks: list[str]
    words: str
    accuracy: str
    loss: str
    values: list[str]
    picture: str | None


@dataclass(frozen=True)
class Section:
    """A model on the page.

    Attributes:
        name: of the model.
        title: of the model.
        notes: sentences above the charts.
        names: of the parameters that differ, short.
        charts: of accuracy and loss.
        rows: the settings in the order of their values.
        colors: CSS colours of the settings, by key.
        unnamed: how many settings have the colour of the others.
    """

    name: str
    title: str
    notes: list[str]
    names: list[str]
    charts: list[Chart]
    rows: list[Row]
    colors: dict[str, str]
    unnamed: int

    @property
    def ranking(self) -> list[Row]:
        """The settings, the most accurate first."""
        return sorted(self.rows, key=lambda row: row.setting.accuracy, reverse=True)


def make_page(experiments: Sequence[Experiment], left_out: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        experiments: all that are shown.
        left_out: names of those that cannot be shown.
    """
    sections = [make_section(model, experiments) for model in MODELS]
    return render(
        "page.html",
        folder=FOLDER,
        sections=[section for section in sections if section is not None],
        count=len(experiments),
        left_out=left_out,
        others_color=OTHERS,
    )


def make_section(model: str, experiments: Iterable[Experiment]) -> Section | None:
    """Return the section of a model; None where no experiment has it."""
    comparison = compare(model, experiments)
    settings = comparison.settings
    if not settings:
        return None
    title = MODELS[model].title
    if len(settings) == 1 and _is_same_in_all(settings[0]):
        note = f"The same in all experiments: {settings[0].accuracy:.1%} test accuracy."
        return Section(model, title, [note], [], [], [], {}, 0)
    charts = [accuracy_chart(comparison, index) for index in range(len(comparison.names))]
    curves = read_curves(model, settings)
    if curves:
        charts.append(loss_chart(comparison, curves))
    colors = choose_colors(settings)
    return Section(
        name=model,
        title=title,
        notes=make_notes(comparison),
        names=short_names(comparison.names),
        charts=charts,
        rows=[make_row(model, setting) for setting in settings],
        colors=colors,
        unnamed=sum(color == OTHERS for color in colors.values()),
    )


def _is_same_in_all(setting: Setting) -> bool:
    lowest, _, highest = setting.spread("test_accuracy")
    return f"{lowest:.1%}" == f"{highest:.1%}"


def choose_colors(settings: Sequence[Setting]) -> dict[str, str]:
    """Return the CSS colours of settings by key; of many, most have the same."""
    colors = {}
    plain = [setting for setting in settings if not setting.committed]
    for index, setting in enumerate(plain):
        if len(plain) <= MAX_COLORS:
            colors[setting.key] = _ramp(index / max(1, len(plain) - 1))
        else:
            colors[setting.key] = _ramp(0.5) if setting.best else OTHERS
    for setting in settings:
        if setting.committed:
            colors[setting.key] = "currentColor"
    return colors


def _ramp(share: float) -> str:
    """Return the colour at this share of the way from the first to the last one."""
    return f"light-dark({_mix(LIGHT, share)}, {_mix(DARK, share)})"


def _mix(anchors: Sequence[str], share: float) -> str:
    place = share * (len(anchors) - 1)
    before = min(int(place), len(anchors) - 2)
    part = place - before
    first = bytes.fromhex(anchors[before][1:])
    second = bytes.fromhex(anchors[before + 1][1:])
    mixed = [round(a + (b - a) * part) for a, b in zip(first, second, strict=True)]
    return f"#{bytes(mixed).hex()}"


def make_notes(comparison: Comparison) -> list[str]:
    """Return the sentences above the charts of a model."""
    notes = []
    if comparison.best is not None:
        notes.append(_describe_best(comparison, comparison.best))
    if any(map(is_of_data, comparison.names)):
        notes.append("The best is the best of those with the committed data.")
    if any(len(setting.results) > 1 for setting in comparison.settings):
        notes.append(
            "Experiments that differ only in a seed or skip_draws are one point, with their range."
        )
    return notes


def _describe_best(comparison: Comparison, best: Setting) -> str:
    """Return a sentence with the best setting, and those that the test set cannot tell from it."""
    sentence = f"The highest test accuracy is {best.accuracy:.1%} ({_unbreakable(best.label)})."
    if comparison.error is None:
        return sentence
    sentence += (
        f" Measured on {comparison.test_points:,} points, a difference of up to "
        f"{100 * comparison.error:.1g} percentage points may be chance"
    )
    tied = [s for s in comparison.settings if s.tied and s is not best]
    if not tied:
        return f"{sentence}; no other setting is that close."
    named = [f"{_unbreakable(s.label)} ({s.accuracy:.1%})" for s in tied[:MAX_NAMED]]
    if len(tied) > MAX_NAMED:
        named.append(f"{len(tied) - MAX_NAMED} more")
    return f"{sentence}, so these may be just as good: {', '.join(named)}."


def make_row(model: str, setting: Setting) -> Row:
    """Return the row of a setting."""
    marks = []
    if setting.best:
        marks.append("best, within the error" if setting.tied else "best")
    if setting.committed:
        marks.append("committed")
    words = list(dict.fromkeys([*marks, _unbreakable(setting.label)]))
    lowest, median, highest = setting.spread("test_accuracy")
    accuracy = f"{median:.1%}"
    if lowest < highest:
        accuracy += f" ({lowest:.1%} to {highest:.1%})"
    return Row(
        setting=setting,
        marks=marks,
        words=", ".join(words),
        accuracy=accuracy,
        loss=f"{setting.spread('train_loss')[1]:.4g}",
        values=[format_value(value) for value in setting.values],
        picture=read_picture(model, setting.middle.experiments[0]),
    )


def _unbreakable(label: str) -> str:
    """Return a label that breaks only between its parts, not between a name and its value."""
    return ", ".join(part.replace(" ", "\u00a0") for part in label.split(", "))


def read_picture(model: str, experiment: Experiment) -> str | None:
    """Return the decision boundary after the training as an address; None if it is not there.

    It is the last frame of MLflow's slider, which has no axes.
    """
    frame = paths.frame(model, 100)
    content = read_stored(experiment, frame, f"data/frames/{model}/{frame.name}")
    if content is None:
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def read_curves(model: str, settings: Iterable[Setting]) -> list[Curve]:
    """Return the training curves of the settings; equal ones are there once."""
    found: dict[bytes, list[Setting]] = {}
    for setting in settings:
        for result in setting.results:
            content = read_stored(
                result.experiments[0], paths.curve(model), f"data/{model}_curve.csv"
            )
            if content is not None and setting not in found.setdefault(content, []):
                found[content].append(setting)
    curves = []
    for content, having in found.items():
        points = np.loadtxt(io.BytesIO(content), delimiter=",", skiprows=1, ndmin=2)
        curves.append(Curve(having, points))
    return curves


@cache
def _files_of(rev: str) -> Any:
    """Return a file system with the files of a commit, from DVC and Git."""
    from dvc.api import DVCFileSystem

    return DVCFileSystem(str(paths.ROOT), rev=rev)


def read_stored(experiment: Experiment, *places: Path | str) -> bytes | None:
    """Return an experiment's file; None where DVC's cache does not have it.

    Args:
        experiment: whose file it is.
        places: where it may lie: in the present layout, then in older ones.
    """
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    for place in places:
        try:
            return bytes(_files_of(experiment.rev).read_bytes(str(place)))
        except (OSError, DvcException, DataIndexDirError):
            continue  # it was never fetched, or has another layout
    return None
