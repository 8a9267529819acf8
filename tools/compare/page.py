"""The page, as HTML: of each model what differs, the accuracy that this gave, the curves, the boundaries."""

import base64
import io
from functools import cache
from html import escape

import numpy as np

from compare.charts import accuracy_chart, loss_chart
from compare.settings import PALE, gather, of_data, said, short
from pipeline import paths
from spirals.models import MODELS

HEAD = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Experiments</title>
<style>
:root { color-scheme: light dark; }
body { max-width: 84rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  color: light-dark(#1f2328, #e0e3e7); background: light-dark(#fff, #14171b); }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 50%; }
.keys > span { margin-right: 1.2rem; white-space: nowrap; }
.charts, .sheet { display: grid; gap: 1rem; margin: 1rem 0; }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
.sheet { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); font-size: .85rem; line-height: 1.3; }
svg, img { display: block; width: 100%; height: auto; }
figure { margin: 0; max-width: 18rem; }
img { aspect-ratio: 1; object-fit: cover; object-position: bottom; border-radius: 4px; } /* without its line of text */
figcaption { margin-top: .3rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #8886; text-align: right; vertical-align: top;
  white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
th, td:first-child { white-space: normal; } /* or the last columns are out of sight */
td:first-child { min-width: 10.5rem; }
.on path, .on use { stroke: currentColor !important; stroke-width: 2.5 !important; stroke-opacity: 1 !important; }
.on use { fill: currentColor !important; }
tr.on, figure.on { background: #8883; }
</style>
<h1>Experiments</h1>
"""
# What is pointed at, in a chart, the pictures or the table, is brought out everywhere.
POINT = """<script>
for (const event of ["pointerover", "focusin"]) addEventListener(event, ({target}) => {
  const one = target.closest("[data-of]");
  for (const other of document.querySelectorAll("[data-of]"))
    other.classList.toggle("on", other.dataset.of === one?.dataset.of);
});
</script>
</html>
"""


def page(experiments):
    return HEAD + "".join(section(model, experiments) for model in MODELS) + POINT


def curves(model, settings):
    """Pairs of a setting and a curve, [points, 3]; equal curves are there once."""
    found = {}
    for setting in settings:
        for _, (one, *_) in setting.results:
            if content := stored(
                one, paths.curve(model), f"data/{model}_curve.csv"
            ):  # that of an older layout
                found.setdefault(content, setting)
    tables = [
        np.loadtxt(io.BytesIO(content), delimiter=",", skiprows=1, ndmin=2) for content in found
    ]
    return list(zip(found.values(), tables, strict=True))


def section(model, experiments):
    """What the page says of a model, as HTML."""
    names, settings = gather(model, experiments)
    title = f"<h2>{escape(MODELS[model].title)}</h2>\n"
    if not settings:
        return ""
    if (
        len(settings) == 1
        and len(set(map("{:.1%}".format, settings[0].spread("test_accuracy")))) == 1
    ):
        return f"{title}<p>The same in all: {settings[0].spread('test_accuracy')[1]:.1%} of fresh points right.</p>\n"
    charts = [accuracy_chart(settings, index, name) for index, name in enumerate(names)]
    if losses := curves(model, settings):
        charts.append(loss_chart(losses))
    notes = []
    if any(len(setting.results) > 1 for setting in settings):
        notes.append(
            "Results that differ only in a seed or skip_draws are one point, with their range."
        )
    if any(map(of_data, names)):
        notes.append("The best is that of the settings with the committed data.")
    return f"""{title}{"".join(f"<p>{note}</p>" for note in notes)}
<p class=keys>{keys(settings)}</p>
<div class=charts>{"".join(charts)}</div>
<div class=sheet>{"".join(picture(model, setting) for setting in settings)}</div>
<div class=table>{table(names, settings)}</div>
"""


def words(setting):
    """The setting's key and label."""
    marks = [
        word for word, true in (("best", setting.best), ("committed", setting.committed)) if true
    ]
    parts = dict.fromkeys([*marks, *setting.label.split(", ")])
    told = ", ".join(
        part.replace(" ", "\u00a0") for part in parts
    )  # no name is parted from its value
    return f'<span class=key style="background: {setting.color}"></span>{escape(told)}'


def keys(settings):
    """What the colours say; the pale ones are not named."""
    named = "".join(
        f"<span>{words(setting)}</span> " for setting in settings if setting.color != PALE
    )
    pale = sum(setting.color == PALE for setting in settings)
    return named + (
        f'<span><span class=key style="background: {PALE}"></span>{pale} others</span>'
        if pale
        else ""
    )


def picture(model, setting):
    """The boundary of the result in the middle, after the training: the last frame of MLflow's slider, without axes."""
    metrics, (one, *_) = setting.middle
    frame = paths.frame(model, 100)
    content = stored(one, frame, f"data/frames/{model}/{frame.name}")
    shown = "not in DVC's cache"
    if content:
        shown = f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
    return f"""<figure data-of={setting.key} tabindex=0>{shown}
<figcaption>{words(setting)}<br>{metrics["test_accuracy"]:.1%} right</figcaption>
</figure>
"""


def table(names, settings):
    """The settings, the most accurate first."""
    header = ["", "fresh points right", "training loss", *short(names), "experiments"]
    rows = []
    for setting in sorted(settings, key=lambda one: one.spread("test_accuracy")[1], reverse=True):
        least, middle, most = setting.spread("test_accuracy")
        spread = f" ({least:.1%} – {most:.1%})" if least < most else ""
        loss = f"{setting.spread('train_loss')[1]:.4g}"
        values = [escape(said(value)) for value in setting.values]
        tried = [escape(one.name) for _, experiments in setting.results for one in experiments]
        listed = tried[0]
        if len(tried) > 1:
            listed = f"<details><summary>{len(tried)}</summary>{'<br>'.join(tried)}</details>"
        cells = [words(setting), f"{middle:.1%}{spread}", loss, *values, listed]
        rows.append(
            f"<tr data-of={setting.key} tabindex=0>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
        )
    return f"<table>\n<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>\n{''.join(rows)}</table>"


@cache
def files(rev):
    """What DVC and git have of a commit."""
    from dvc.api import DVCFileSystem

    return DVCFileSystem(str(paths.ROOT), rev=rev)


def stored(experiment, *names):
    """The bytes of an experiment's file, by the first of these paths that it has; None where it is not in the cache."""
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    for name in map(str, names):
        try:
            return files(experiment.rev).read_bytes(name)
        except (
            OSError,
            DvcException,
            DataIndexDirError,
        ):  # of what was never fetched, or is of another layout
            continue
    return None
