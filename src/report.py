"""Stage report: the results on one page -> reports/README.md, and reports/report.html with the pictures in it."""

import base64
import csv
import re

from markdown_it import MarkdownIt

from spirals import paths
from spirals.errors import plain_errors
from spirals.files import RESTORE, read_curve, read_metrics, read_yaml, reading, write_text
from spirals.models import TITLES
from spirals.params import load_params

SECTIONS = ("generate", "train_linear", "train_mlp")  # of params.yaml, that the case study has too
PACKAGES = ("numpy", "matplotlib", "pillow", "dvc", "mlflow")  # whose versions are told
PICTURES = {".gif": ("image/gif", b"\0;"), ".png": ("image/png", b"IEND\xaeB`\x82")}  # type, and how the file ends

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Spirals: the report</title>
<style>
:root { color-scheme: light dark; }
body { max-width: 52rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  color: light-dark(#1f2328, #e0e3e7); background: light-dark(#fff, #14171b); overflow-wrap: break-word; }
img { max-width: 100%%; height: auto; border-radius: 6px; }
table { display: block; overflow-x: auto; border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border: 1px solid light-dark(#d0d7de, #3d444d); }
summary { cursor: pointer; }
</style>
%s</html>
"""


def report(params, root):
    """Writes both pages from what the other stages wrote; `params` are all of them. Returns the Markdown."""
    text = markdown(params, root)
    write_text(root / paths.REPORT, text)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    write_text(root / paths.REPORT_PAGE, PAGE % re.sub('src="([^"]+)"', lambda found: inlined(root, found[1]), html))
    return text


def inlined(root, name):
    """The attribute src with the picture itself: the page opens without a network, wherever it is sent."""
    path = root / paths.REPORT.parent / name
    kind, end = PICTURES[path.suffix]
    with reading(path):
        content = path.read_bytes()
        if not content.endswith(end):
            raise ValueError("it is cut off, or is no picture")
    return f'src="data:{kind};base64,{base64.b64encode(content).decode()}"'


def markdown(params, root):
    published = read_published(paths.ROOT)
    metrics = read_metrics(root / paths.METRICS)
    changed = differing(params, published)
    fresh = params.evaluate.points_per_class * params.generate.classes
    rows = [
        ("Loss after training", [f"{metrics[name]['train_loss']:.6f}" for name in TITLES]),
        ("Right, of the points trained on", [f"{metrics[name]['train_accuracy']:.1%}" for name in TITLES]),
        (f"Right, of {fresh:,} fresh points", [f"{metrics[name]['test_accuracy']:.1%}" for name in TITLES]),
    ]
    same = [
        name
        for name in published["accuracy"]
        if not any(key.startswith(("generate.", f"train_{name}.")) for key in changed)
    ]
    if same:
        said = [f"{float(published['accuracy'][name]):.0%}" if name in same else "" for name in TITLES]
        rows.insert(2, ("The same, as published", said))
    return f"""# Spirals: the report

Written by `dvc repro` from the files of the pipeline.
The whole as one file that opens from disk: `reports/report.html`.

![The decision boundary of the net and its loss, from the first iteration to the last](figures/learning.gif)

{table(["", *TITLES.values()], [[label, *values] for label, values in rows])}
{losses(root, published, same)}
## Pictures

![The regions of both models, with the points](figures/boundaries.png)

The darker a region, the surer is the model; the lines lie where two classes are equally probable.
Points with a black edge are misclassified.

![The loss of both models by iteration](figures/losses.png)

![Confusion matrices of both models on fresh points](figures/confusions.png)

<img alt="The data set" src="figures/data.png" width="420">

## Parameters

{parameters(params, changed)}
## What produced it

{", ".join(f"{name} {version}" for name, version in versions(paths.ROOT).items())} (`requirements.lock`).
The hash of every file is in `dvc.lock`.
"""


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def read_published(root):
    """The case study's parameters and numbers (reference/); losses as printed, by model and iteration."""
    published = read_yaml(root / paths.PUBLISHED_PARAMS)
    with reading(root / paths.PUBLISHED_PARAMS, RESTORE):
        published = {section: dict(published[section]) for section in (*SECTIONS, "accuracy")}
    losses = {name: {} for name in published["accuracy"]}
    with reading(root / paths.PUBLISHED, RESTORE):
        for row in csv.DictReader((root / paths.PUBLISHED).read_text(encoding="utf-8").splitlines()):
            losses[row["model"]][int(row["iteration"])] = f"{float(row['loss']):f}"
        if not all(losses.values()):
            raise ValueError(f"it must have losses of {' and '.join(losses)}")
    return {**published, "losses": losses}


def differing(params, published):
    """Parameters that are not the case study's: by name, our value and the published one."""
    changed = {}
    for section in SECTIONS:
        for key, value in published[section].items():
            if (ours := getattr(getattr(params, section), key, None)) != value:
                changed[f"{section}.{key}"] = (ours, value)
    return changed


def losses(root, published, same):
    """Every published loss beside ours, for the models that were trained with the published parameters."""
    rows = []
    for name in same:
        curve = read_curve(root / paths.curve(name))
        ours = {int(iteration): f"{loss:f}" for iteration, loss, _ in curve}
        rows += [
            [TITLES[name], f"{iteration:,}", ours[iteration], loss, "" if ours[iteration] == loss else "differs"]
            for iteration, loss in published["losses"][name].items()
            if iteration in ours
        ]
    if not rows:
        return ""
    agree = sum(row[-1] == "" for row in rows)
    told = f"All {agree}" if agree == len(rows) else f"{agree} of the {len(rows)}"
    return f"""{told} losses printed in the case study are the same here, in every digit.

<details><summary>The losses side by side</summary>

{table(["", "iteration", "here", "published", ""], rows)}
</details>

"""


def parameters(params, changed):
    sections = [name for name in params.__struct_fields__ if name != "plot"]
    rows = [
        [f"{section}.{key}", getattr(getattr(params, section), key)]
        for section in sections
        for key in getattr(params, section).__struct_fields__
    ]
    told = "The data and both models have the case study's own parameters.\n"
    if changed:
        told = table(["", "here", "case study"], [[key, *values] for key, values in changed.items()])
    return f"""{told}
<details><summary>All of them</summary>

{table(["", "here"], rows)}
</details>

"""


def versions(root):
    """Versions of the packages that matter, as locked."""
    with reading(root / paths.REQUIREMENTS, RESTORE):
        lock = (root / paths.REQUIREMENTS).read_text(encoding="utf-8")
        return {name: re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)[1] for name in PACKAGES}


def main():
    report(load_params(paths.ROOT), paths.ROOT)
    print(f"the results on one page -> {paths.REPORT_PAGE}, {paths.REPORT}")


if __name__ == "__main__":
    with plain_errors():
        main()
