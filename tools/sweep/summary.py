"""The table of a sweep, and its picture."""

import itertools
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from pictures.palette import PALETTE
from pictures.scales import Scale, choose_scale, label_values
from pipeline import paths
from spirals.models import MODELS

PANELS = {"train_loss": "loss", "test_accuracy": "test accuracy"}
MAX_COLORS = 8  # lines that can be told apart by their colour
Axes = Any  # of Matplotlib, which only `pictures` may import
STYLES = ("-", "--", ":", "-.")  # of the models


def tabulate(
    experiments: Mapping[str, dict[str, str]],
    references: Mapping[str, str],
    failed: Mapping[str, str],
) -> pd.DataFrame:
    """Return the table of a sweep: a row for each experiment, in the order of the grid.

    Args:
        experiments: by name, the values by key.
        references: by name, the Git reference of a finished experiment.
        failed: by name, why an experiment failed.

    Returns:
        Columns for the experiment, its values, the metrics of all models, and the failure. Cells
        of an experiment that is not finished are empty.
    """
    yaml = YAML(typ="safe")
    rows = []
    for name, values in experiments.items():
        row: dict[str, Any] = {"experiment": name}
        for key, value in values.items():
            row[key] = yaml.load(value)
        if name in references:
            row |= read_metrics(references[name])
        row["failed"] = failed.get(name)
        rows.append(row)
    table = pd.DataFrame(rows)
    failures = table.pop("failed")
    return table.assign(failed=failures)


def read_metrics(reference: str) -> dict[str, float]:
    """Return the metrics of all models, as MODEL.METRIC, that an experiment has in Git."""
    metrics = {}
    for model in MODELS:
        command = ["git", "show", f"{reference}:{paths.metrics(model)}"]
        shown = subprocess.run(command, cwd=paths.ROOT, capture_output=True, check=True)
        for metric, value in json.loads(shown.stdout)[model].items():
            metrics[f"{model}.{metric}"] = value
    return metrics


def draw(path: Path, table: pd.DataFrame, swept: Sequence[str]) -> None:
    """Draw loss and accuracy against each swept parameter: the median and range over seeds.

    Args:
        path: of the picture.
        table: see `tabulate`.
        swept: keys of the parameters that have several values.
    """
    from pictures import figures  # imports Matplotlib: after isolate_matplotlib

    points = table[[*swept]].drop_duplicates().shape[0]
    with figures.rc_context(figures.STYLE):
        size = (figures.PANEL * len(swept), 7.2)
        figure = figures.Figure(figsize=size, layout="constrained")
        axes = figure.subplots(2, len(swept), sharex="col", sharey="row", squeeze=False)
        for column, key in enumerate(swept):
            scale = choose_scale(sorted(table[key].unique().tolist()))
            for row, (metric, title) in enumerate(PANELS.items()):
                ax = axes[row][column]
                draw_panel(ax, table, swept, key, metric, scale=scale)
                label_values(ax, scale, key if row else "")
                ax.set_ylabel("" if column else title)
            add_legend(axes[0][column])
        figure.suptitle(f"Median and range over {len(table) // points} seeds")
        figures.save(figure, path, 150)


def draw_panel(
    ax: Axes,
    table: pd.DataFrame,
    swept: Sequence[str],
    key: str,
    metric: str,
    *,
    scale: Scale,
) -> None:
    """Draw one metric against one parameter: a line for each model and value of the others."""
    others = [other for other in swept if other != key]
    groups = list(table.groupby(others)) if others else [((), table)]
    models = shown_models(swept)
    for index, (values, group) in enumerate(groups):
        colored = len(groups) <= MAX_COLORS
        color = PALETTE[index] if colored else PALETTE[-1]
        words = [f"{o.partition('.')[2]} {v:g}" for o, v in zip(others, values, strict=True)]
        for model, style in zip(models, itertools.cycle(STYLES)):
            spread = group.groupby(key)[f"{model}.{metric}"].agg(["min", "median", "max"])
            names = [model] if len(models) > 1 else []
            if words:
                names.append(", ".join(words))
            # Matplotlib leaves out of a legend what begins with "_".
            label = " ".join(names) if colored else "_"
            line = {"marker": "o", "markersize": 4, "color": color, "label": label}
            places = [scale.position[value] for value in spread.index]
            ax.plot(places, spread["median"], style, **line)
            shade = {"color": color, "alpha": 0.2, "linewidth": 0}
            ax.fill_between(places, spread["min"], spread["max"], **shade)


def shown_models(swept: Sequence[str]) -> list[str]:
    """Return the models that the swept parameters concern: all, if one is not a model's own."""
    sections = {key.partition(".")[0] for key in swept}
    own = [model for model in MODELS if f"train_{model}" in sections]
    return own if len(own) == len(sections) else [*MODELS]


def add_legend(ax: Axes) -> None:
    """Add a legend if there is a line that has a name."""
    if any(ax.get_legend_handles_labels()[1]):
        ax.legend()
