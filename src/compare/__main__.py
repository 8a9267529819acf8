"""Shows the experiments of `dvc exp show` side by side: make compare.

DVC's own page lays the curves over one another and the boundaries side by side. What it
lacks is put above them: the parameters that differ, and the accuracy they gave. Arguments
are handed on to `dvc exp show`: `python src/compare.py --num 3` takes three commits.
"""

import base64
import html
import io
import json
import subprocess
import sys

from pictures.figures import MODEL_COLORS, STYLE, Figure, rc_context
from pipeline import paths
from pipeline.errors import UserError, plain_errors
from pipeline.files import write_text
from spirals.models import TITLES

PAGE = paths.ROOT / "dvc_plots" / "compare" / "index.html"  # dvc plots show has its own page above
METRIC = "test_accuracy"
MARKERS = {"linear": "s", "mlp": "o"}
COLUMNS = 3  # panels in a row


def collect(shown):
    """The commit and its experiments, out of `dvc exp show --json`; those that failed are left out.

    Args:
        shown: what it prints, as Python objects.

    Returns:
        A list of dicts: name, params by dotted name, metrics by dotted name.
    """
    found = []
    for baseline in shown:
        if baseline["rev"] != "workspace":
            found.append(baseline)
            for experiment in baseline.get("experiments") or []:
                found.append({**experiment["revs"][0], "name": experiment["name"]})
    experiments = []
    for one in found:
        if one.get("error"):  # beside it stand the metrics of the commit
            continue
        data = one.get("data") or {}
        params = data.get("params", {}).get(str(paths.PARAMS), {}).get("data")
        metrics = data.get("metrics", {}).get(str(paths.METRICS), {}).get("data")
        if params and metrics:
            name = one["name"] or one["rev"][:7]
            experiments.append({"name": name, "params": flat(params), "metrics": flat(metrics)})
    return experiments


def flat(sections):
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def varying(experiments):
    """Names of the parameters that are not the same in all."""
    return [
        name
        for name in experiments[0]["params"]
        if len({experiment["params"].get(name) for experiment in experiments}) > 1 and not name.startswith("plot.")
    ]


def chart(experiments, names):
    """Each varying parameter against the accuracy of both models: bytes of a PNG."""
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(5 * columns, 3.6 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for ax in axes.flat[len(names) :]:
            ax.axis("off")
        for ax, name in zip(axes.flat, names, strict=False):
            values = [experiment["params"][name] for experiment in experiments]
            for model, title in TITLES.items():
                right = [100 * experiment["metrics"][f"{model}.{METRIC}"] for experiment in experiments]
                ax.scatter(values, right, s=45, alpha=0.8, c=MODEL_COLORS[model], marker=MARKERS[model], label=title)
            ax.set(xlabel=name, ylim=(0, 105))
            ax.margins(x=0.1)
        for ax in axes[:, 0]:
            ax.set_ylabel("fresh points right, %")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
        content = io.BytesIO()
        figure.savefig(content, dpi=110)
    return content.getvalue()


def heading(experiments, names):
    """What stands above DVC's plots: a table and the chart, as HTML."""
    columns = ["", *names, *(f"{title}, fresh points right" for title in TITLES.values())]
    rows = [
        [
            experiment["name"],
            *(experiment["params"][name] for name in names),
            *(f"{experiment['metrics'][f'{model}.{METRIC}']:.1%}" for model in TITLES),
        ]
        for experiment in experiments
    ]
    cells = "".join(
        "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row) + "</tr>\n"
        for tag, row in [("th", columns), *(("td", row) for row in rows)]
    )
    picture = base64.b64encode(chart(experiments, names)).decode() if names else ""
    image = f'<img style="max-height: none; max-width: 100%" src="data:image/png;base64,{picture}">' if names else ""
    return f"<style>img {{ max-height: 18rem }}</style>\n<h1>Experiments</h1>\n<table>\n{cells}</table>\n{image}\n"


def dvc(*arguments):
    done = subprocess.run(["dvc", *arguments], cwd=paths.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def main():
    experiments = collect(json.loads(dvc("exp", "show", "--json", *sys.argv[1:])))
    if len(experiments) < 2:
        raise UserError("there is nothing to compare yet: run dvc exp run -S train_mlp.hidden_units=20 first")
    names = varying(experiments)
    # A model of which nothing differs is left out.
    models = [m for m in TITLES if any(name.startswith(("generate.", f"train_{m}.")) for name in names)] or TITLES
    pictures = [str(of(model)) for of in (paths.curve, paths.boundary) for model in models]
    revisions = [experiment["name"] for experiment in experiments]
    dvc("plots", "diff", *revisions, "--targets", *pictures, "--out", str(PAGE.parent))
    before, body, after = PAGE.read_text().rpartition("\n<body>\n")  # the last: Vega's code names it, too
    write_text(PAGE, before + body + heading(experiments, names) + after)
    print(PAGE.as_uri())


if __name__ == "__main__":
    with plain_errors():
        main()
