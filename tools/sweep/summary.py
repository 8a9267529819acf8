"""The table of a sweep, and its picture."""

import itertools
import json
import subprocess

import pandas as pd
from ruamel.yaml import YAML

from pictures import figures
from pipeline import paths
from spirals.models import MODELS

PANELS = {"train_loss": "loss", "test_accuracy": "accuracy on fresh points"}
MOST_LINES = 8  # told apart by colour
STYLES = ("-", "--", ":", "-.")  # of the models


def tabulate(experiments, refs, failed):
    """One row an experiment, in the order of the grid; empty cells where it is not finished.

    Args:
        experiments: see `sweep.expand`.
        refs: by name, the Git ref of a finished experiment.
        failed: by name, the reason.

    Returns:
        Data frame with the experiment, its values, the metrics of all models, and `failed`.
    """
    rows = []
    for name, values in experiments.items():
        row = {"experiment": name} | {
            key: YAML(typ="safe").load(value) for key, value in values.items()
        }
        for model in MODELS if name in refs else ():
            shown = subprocess.run(
                ["git", "show", f"{refs[name]}:{paths.metrics(model)}"],
                cwd=paths.ROOT,
                capture_output=True,
                check=True,
            )
            row |= {
                f"{model}.{metric}": value
                for metric, value in json.loads(shown.stdout)[model].items()
            }
        rows.append(row | {"failed": failed.get(name)})
    table = pd.DataFrame(rows)
    return table[[column for column in table if column != "failed"] + ["failed"]]


def draw(path, table, swept):
    """Loss and accuracy against each swept parameter: the median over seeds, and all of its range.

    Args:
        path: of the picture.
        table: see `tabulate`.
        swept: keys of the parameters that have several values.
    """
    shared = not all(key.startswith("train_") for key in swept)
    models = [
        model
        for model in MODELS
        if shared or any(key.startswith(f"train_{model}.") for key in swept)
    ]
    with figures.rc_context(figures.STYLE):
        figure = figures.Figure(figsize=(figures.PANEL * len(swept), 7.2), layout="constrained")
        axes = figure.subplots(2, len(swept), sharex="col", sharey="row", squeeze=False)
        for column, key in enumerate(swept):
            others = [other for other in swept if other != key]
            groups = list(table.groupby(others)) if others else [((), table)]
            colored = len(groups) <= MOST_LINES
            for row, (metric, label) in enumerate(PANELS.items()):
                ax = axes[row][column]
                for line, (values, group) in enumerate(groups):
                    color = figures.PALETTE[line] if colored else figures.PALETTE[-1]
                    words = ", ".join(
                        f"{o.partition('.')[2]} {v:g}" for o, v in zip(others, values, strict=True)
                    )
                    for model, style in zip(models, itertools.cycle(STYLES)):
                        spread = group.groupby(key)[f"{model}.{metric}"].agg(
                            ["min", "median", "max"]
                        )
                        name = " ".join(filter(None, [model if len(models) > 1 else "", words]))
                        ax.plot(
                            spread.index,
                            spread["median"],
                            style,
                            marker="o",
                            ms=4,
                            color=color,
                            label=name,
                        )
                        ax.fill_between(
                            spread.index,
                            spread["min"],
                            spread["max"],
                            color=color,
                            alpha=0.2,
                            linewidth=0,
                        )
                if row == 0 and colored and any(ax.get_legend_handles_labels()[1]):
                    ax.legend()
                ticks = sorted(table[key].unique())
                if ticks[0] > 0 and ticks[-1] / ticks[0] >= 10:
                    ax.set_xscale("log")
                if len(ticks) <= MOST_LINES:
                    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                    ax.minorticks_off()
                ax.set(xlabel=key if row else "", ylabel="" if column else label)
        figure.suptitle(
            f"Median and range over {len(table) // table[swept].drop_duplicates().shape[0]} seeds"
        )
        figures.save(figure, path, 150)
