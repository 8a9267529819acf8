"""Stage report: all models side by side, as figures and on one page -> reports/."""

import base64
import csv
import hashlib
import re

import msgspec
import numpy as np
from markdown_it import MarkdownIt

from pictures import figures, pages
from pictures.explorer import explorer
from pipeline import files, paths
from pipeline.errors import exit_on_user_error
from pipeline.params import load_params, used_params
from spirals.data import NAME
from spirals.models import MODELS

PACKAGES = ("numpy", "matplotlib", "pillow", "dvc", "mlflow")  # whose versions are told
PICTURES = {
    ".gif": ("image/gif", b"\0;"),
    ".png": ("image/png", b"IEND\xaeB`\x82"),
}  # type, and how the file ends

MOST, MOST_PICTURES = 3_000_000, 2_000_000  # characters: of the page, and of its pictures
EXPLORER = "<!-- explorer -->"
MOVING = rf"{EXPLORER}\n<noscript><p>\1</p></noscript>"
ELSEWHERE = "The whole as one file that opens from disk, with the training to drag: `reports/report.html`.\n"
from pipeline.runtime import set_up_runtime


def report(params, root):
    """Writes figures and both pages from what the other stages wrote; `params` are all of them."""
    metrics = {name: files.read_metrics(root / paths.metrics(name), name) for name in MODELS}
    files.write_json(root / paths.METRICS, metrics, indent=2)
    curves = {name: files.read_curve(root / paths.curve(name)) for name in MODELS}
    draw(params.plot.dpi, root, curves)
    text = markdown(params, metrics, curves, root)
    files.write_text(root / paths.REPORT, text)
    files.write_text(root / paths.REPORT_PAGE, page(text, root))


def draw(dpi, root, curves):
    """The figures of all models."""
    X, y = files.read_points(root / paths.DATA)
    classes = int(y.max()) + 1
    counts = {}
    for name in MODELS:
        pairs = files.read_confusion(root / paths.confusion(name), classes)
        counts[name] = np.bincount(pairs @ (classes, 1), minlength=classes**2).reshape(
            classes, classes
        )
    folder = root / paths.FIGURES
    figures.side_by_side(
        [root / paths.picture(name, "boundary") for name in MODELS], folder / "boundaries.png", dpi
    )
    figures.draw_data(folder / "data.png", X, y, dpi)
    figures.draw_losses(folder / "losses.png", curves, dpi)
    figures.draw_confusions(folder / "confusions.png", counts, dpi)


def page(text, root):
    """The report as one file: the Markdown, its pictures in it, and instead of the moving one the explorer."""
    html = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(text.replace(ELSEWHERE, ""))
    )
    html = re.sub("<p>(<img[^>]*learning.gif[^>]*>)</p>", MOVING, html)
    room = MOST_PICTURES
    for name in sorted(
        re.findall('src="([^"]+)"', html), key=lambda name: name.endswith(".gif")
    ):  # that one last
        if len(data := inlined(root, name)) <= room:
            html = html.replace(f'src="{name}"', f'src="{data}"')
            room -= len(data)
        else:
            told = f'<a href="{name}">{name}</a> is too large for this page'
            html = re.sub(f'<img[^>]*src="{name}"[^>]*>', told, html)
    html = pages.filled("page.html", name=NAME, style=pages.text("page.css"), body=html)
    return html.replace(EXPLORER, explorer(root, MOST - len(html)))


def inlined(root, name):
    """The picture itself as an address: the page opens without a network, wherever it is sent."""
    path = root / paths.REPORT.parent / name
    kind, end = PICTURES[path.suffix]
    with files.file_errors(path):
        content = path.read_bytes()
        if not content.endswith(end):
            raise ValueError("it is cut off, or is no picture")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def markdown(params, metrics, curves, root):
    """The report as it lies beside the figures: report.md of src/pictures, filled in."""
    sections, published = msgspec.to_builtins(params), read_published(paths.ROOT)
    md5 = hashlib.md5((root / paths.DATA).read_bytes(), usedforsecurity=False).hexdigest()
    changed = {
        f"{section}.{key}": (ours.get(key), value)
        for section, ours in {**sections, "md5": {str(paths.DATA): md5}}.items()
        for key, value in published.get(section, {}).items()
        if ours.get(key) != value
    }
    differ = {key.partition(".")[0] for key in changed}
    same = [name for name in published["accuracy"] if not {"md5", f"train_{name}"} & differ]
    losses = []  # at the published iterations: title, iteration, ours, theirs
    for name in same:
        ours = {int(iteration): f"{loss:f}" for iteration, loss, _ in curves[name]}
        told = {
            iteration: loss
            for iteration, loss in published["losses"][name].items()
            if iteration in ours
        }
        losses += [
            (MODELS[name].title, iteration, ours[iteration], loss)
            for iteration, loss in told.items()
        ]
    return pages.filled(
        "report.md",
        name=NAME,
        models=MODELS,
        params=sections,
        fresh=len(files.read_points(root / paths.TEST)[1]),
        metrics=metrics,
        curves=curves,
        published=published["accuracy"],
        same=same,
        losses=losses,
        agree=sum(ours == theirs for *_, ours, theirs in losses),
        changed=changed,
        versions=versions(paths.ROOT),
        elsewhere=ELSEWHERE,
    )


def read_published(root):
    """The case study's parameters, data and numbers (reference/); losses as printed, by model and iteration."""
    with files.file_errors(path := root / paths.PUBLISHED_PARAMS, files.RESTORE):
        published = {section: dict(values) for section, values in files.read_yaml(path).items()}
        losses = {name: {} for name in published["accuracy"]}
    with files.file_errors(root / paths.PUBLISHED, files.RESTORE):
        for row in csv.DictReader(
            (root / paths.PUBLISHED).read_text(encoding="utf-8").splitlines()
        ):
            losses[row["model"]][int(row["iteration"])] = f"{float(row['loss']):f}"
        if not all(losses.values()):
            raise ValueError(f"it must have losses of {' and '.join(losses)}")
    return {**published, "losses": losses}


def versions(root):
    """Versions of the packages that matter, as locked."""
    with files.file_errors(root / paths.REQUIREMENTS, files.RESTORE):
        lock = (root / paths.REQUIREMENTS).read_text(encoding="utf-8")
        return {name: re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)[1] for name in PACKAGES}


def main():
    set_up_runtime()
    report(used_params(load_params(paths.ROOT), paths.ROOT), paths.ROOT)
    print(f"the results on one page -> {paths.REPORT_PAGE}, {paths.REPORT}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
