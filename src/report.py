"""Stage report: all models side by side, as figures and on one page -> reports/."""

import base64
import csv
import re

import numpy as np
from markdown_it import MarkdownIt

from pictures import figures
from pictures.explorer import explorer
from pipeline import paths
from pipeline.errors import plain_errors
from pipeline.files import (
    RESTORE,
    read_curve,
    read_metrics,
    read_pairs,
    read_points,
    read_yaml,
    reading,
    write_json,
    write_text,
)
from pipeline.params import load_params, used_params
from spirals.data import NAME
from spirals.models import MODELS

PACKAGES = ("numpy", "matplotlib", "pillow", "dvc", "mlflow")  # whose versions are told
PICTURES = {".gif": ("image/gif", b"\0;"), ".png": ("image/png", b"IEND\xaeB`\x82")}  # type, and how the file ends

MOST, MOST_PICTURES = 3_000_000, 2_000_000  # characters: of the page, and of its pictures

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: the report</title>
<style>
{style}</style>
<noscript><style>.explorer {{ display: none; }}</style></noscript>
</head>
<body>
{body}</body>
</html>
"""
STYLE = paths.ROOT / "src/pictures/page.css"
EXPLORER = "<!-- explorer -->"
MOVING = rf"{EXPLORER}\n<noscript><p>\1</p></noscript>"
ELSEWHERE = "The whole as one file that opens from disk, with the training to drag: `reports/report.html`.\n"


def report(params, root):
    """Writes figures and both pages from what the other stages wrote; `params` are all of them."""
    metrics = {name: read_metrics(root / paths.metrics(name), name) for name in MODELS}
    write_json(root / paths.METRICS, metrics, indent=2)
    curves = {name: read_curve(root / paths.curve(name)) for name in MODELS}
    draw(params.plot.dpi, root, curves)
    text = markdown(params, root, metrics, curves)
    write_text(root / paths.REPORT, text)
    write_text(root / paths.REPORT_PAGE, page(text, root))


def draw(dpi, root, curves):
    """The figures of all models."""
    X, y = read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    counts = {}
    for name in MODELS:
        pairs = read_pairs(root / paths.confusion(name), classes)
        counts[name] = np.bincount(pairs @ (classes, 1), minlength=classes**2).reshape(classes, classes)
    folder = root / paths.FIGURES
    figures.draw_data(folder / "data.png", X, y, dpi)
    figures.draw_losses(folder / "losses.png", curves, dpi)
    figures.draw_confusions(folder / "confusions.png", counts, dpi)
    boundaries = [root / paths.picture(name, "boundary") for name in MODELS]
    figures.side_by_side(boundaries, folder / "boundaries.png", dpi)


def page(text, root):
    """The report as one file: the Markdown, its pictures in it, and instead of the moving one the explorer."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text.replace(ELSEWHERE, ""))
    html = re.sub("<p>(<img[^>]*learning.gif[^>]*>)</p>", MOVING, html)
    room = MOST_PICTURES
    for name in sorted(re.findall('src="([^"]+)"', html), key=lambda name: name.endswith(".gif")):  # that one last
        if len(data := inlined(root, name)) <= room:
            html = html.replace(f'src="{name}"', f'src="{data}"')
            room -= len(data)
        else:
            told = f'<a href="{name}">{name}</a> is too large for this page'
            html = re.sub(f'<img[^>]*src="{name}"[^>]*>', told, html)
    html = PAGE.format(name=NAME, style=STYLE.read_text(encoding="utf-8"), body=html)
    return html.replace(EXPLORER, explorer(root, MOST - len(html)))


def inlined(root, name):
    """The picture itself as an address: the page opens without a network, wherever it is sent."""
    path = root / paths.REPORT.parent / name
    kind, end = PICTURES[path.suffix]
    with reading(path):
        content = path.read_bytes()
        if not content.endswith(end):
            raise ValueError("it is cut off, or is no picture")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def markdown(params, root, metrics, curves):
    published = read_published(paths.ROOT)
    changed = differing(params, published)
    fresh = params.evaluate.points_per_class * params.generate.classes
    rows = [
        ("Loss after training", [f"{metrics[name]['train_loss']:.6f}" for name in MODELS]),
        ("Right, of the points trained on", [f"{metrics[name]['train_accuracy']:.1%}" for name in MODELS]),
        (f"Right, of {fresh:,} fresh points", [f"{metrics[name]['test_accuracy']:.1%}" for name in MODELS]),
    ]
    same = [
        name
        for name in published["accuracy"]
        if not any(key.startswith(("generate.", f"train_{name}.")) for key in changed)
    ]
    if same:
        said = [f"{float(published['accuracy'][name]):.0%}" if name in same else "" for name in MODELS]
        rows.insert(2, ("The same, as published", said))
    return f"""# {NAME}: the report

Written by `dvc repro` from the files of the pipeline.
{ELSEWHERE}
![The decision boundary and the loss, from the first iteration to the last](models/{[*MODELS][-1]}/learning.gif)

{table(["", *(model.title for model in MODELS.values())], [[label, *values] for label, values in rows])}
{worse(curves)}{losses(curves, published, same)}
## Pictures

![The regions of all models, with the points](figures/boundaries.png)

The fuller the colour of a region, the surer is the model; the lines lie where two classes are equally probable.
Outlined points are misclassified.

![The loss of all models by iteration](figures/losses.png)

![Confusion matrices of all models on fresh points](figures/confusions.png)

<img alt="The data set" src="figures/data.png" width="420">

## Parameters

{parameters(params, changed)}
## What produced it

{", ".join(f"{name} {version}" for name, version in versions(paths.ROOT).items())} (`requirements.lock`).
The hash of every file is in `dvc.lock`.
"""


def worse(curves):
    """A sentence for every training that did not pay."""
    told = ""
    for name, curve in curves.items():
        first, last = curve[0, 1], curve[-1, 1]
        if last > first:
            told += f"**{MODELS[name].title}: the training ended worse than it began.** The loss was {first:.6g} before"
            told += f" it and {last:.6g} after {curve[-1, 0]:,.0f} iterations; a smaller learning rate may help.\n\n"
    return told


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def read_published(root):
    """The case study's parameters and numbers (reference/); losses as printed, by model and iteration."""
    published = read_yaml(root / paths.PUBLISHED_PARAMS)
    with reading(root / paths.PUBLISHED_PARAMS, RESTORE):
        published = {section: dict(values) for section, values in published.items()}
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
    for section in params.__struct_fields__:
        for key, value in published.get(section, {}).items():
            if (ours := getattr(getattr(params, section), key, None)) != value:
                changed[f"{section}.{key}"] = (ours, value)
    return changed


def losses(curves, published, same):
    """Every published loss beside ours, for the models that were trained with the published parameters."""
    rows = []
    for name in same:
        ours = {int(iteration): f"{loss:f}" for iteration, loss, _ in curves[name]}
        rows += [
            [
                MODELS[name].title,
                f"{iteration:,}",
                ours[iteration],
                loss,
                *([] if ours[iteration] == loss else ["differs"]),
            ]
            for iteration, loss in published["losses"][name].items()
            if iteration in ours
        ]
    if not rows:
        return ""
    agree = sum(ours == loss for _, _, ours, loss, *_ in rows)
    told = f"All {agree}" if agree == len(rows) else f"{agree} of the {len(rows)}"
    header = ["", "iteration", "here", "published", *([] if agree == len(rows) else [""])]
    return f"""{told} losses printed in the case study are the same here, in every digit.

<details><summary>The losses side by side</summary>

{table(header, rows)}
</details>

"""


def parameters(params, changed):
    sections = [name for name in params.__struct_fields__ if name != "plot"]
    rows = [
        [f"{section}.{key}", getattr(getattr(params, section), key)]
        for section in sections
        for key in getattr(params, section).__struct_fields__
    ]
    told = "The data and the case study's models have the case study's own parameters.\n"
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
    report(used_params(load_params(paths.ROOT), paths.ROOT), paths.ROOT)
    print(f"the results on one page -> {paths.REPORT_PAGE}, {paths.REPORT}")


if __name__ == "__main__":
    with plain_errors():
        main()
