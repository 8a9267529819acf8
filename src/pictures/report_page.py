"""The report as one HTML file: the Markdown, its figures in it, and the explorer."""

import base64
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from markdown_it import MarkdownIt
from PIL import Image

from pictures import pages
from pictures.explorer import explorer
from pipeline import files, paths
from pipeline.params import Params
from spirals.data import NAME
from spirals.models import MODELS

MOST_CHARACTERS = 600_000  # of the page: it lies in git
MOST_FIGURES = 300_000  # characters of all figures together
COLORS = 256  # of a figure: a fifth of the bytes, and no difference to be seen
PNG_END = b"IEND\xaeB`\x82"
WITHOUT_SCRIPTS = """
<noscript><p><b>Without JavaScript nothing moves here:</b> the figures below show the
trained models.</p></noscript>"""
ANIMATION = re.compile(r"<p><img[^>]*learning\.gif[^>]*></p>")
PARAGRAPH_WITH_PICTURE = re.compile(r"(?:<p>)?<img[^>]*>(?:</p>)?")
TITLE = re.compile(r"(<h1>.*?</h1>\s*<p>.*?</p>)", re.DOTALL)
EMPTY_HEADER = re.compile(r"<th([^>]*)></th>")
EXPLORER = "<!-- explorer -->"


def report_page(text: str, root: Path, params: Params) -> str:
    """Return the report as one file that opens from disk without a network.

    Args:
        text: the report in Markdown; the explorer takes the place of its animation.
        root: of the checkout.
        params: those that the results were made with.
    """
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    body = markdown.render(text)
    body = ANIMATION.sub(EXPLORER + WITHOUT_SCRIPTS, body)
    body = accessible_tables(with_header(body))
    body = with_figures(body, root)
    html = pages.render("page.html", name=NAME, style=pages.read_text("page.css"), body=body)
    return html.replace(EXPLORER, explorer(root, params, MOST_CHARACTERS - len(html)))


def with_header(body: str) -> str:
    """Return the HTML with the title and the paragraph after it in a header."""
    return TITLE.sub(r"<header>\1</header>", body, count=1)


def accessible_tables(body: str) -> str:
    """Return the HTML with tables that a keyboard can scroll, and that have no empty headers."""
    parts = EMPTY_HEADER.sub(r"<td\1></td>", body).split("<table>")
    for index in range(1, len(parts)):
        parts[index] = (
            f'<div class="table" role="region" tabindex="0" aria-label="Table {index}"><table>'
            + parts[index].replace("</table>", "</table></div>")
        )
    return "".join(parts)


def with_figures(body: str, root: Path) -> str:
    """Return the HTML with its pictures in it; what does not fit is a link."""
    room = MOST_FIGURES
    for paragraph in PARAGRAPH_WITH_PICTURE.finditer(body):
        name = attribute(paragraph[0], "src")
        figure = inline_figure(root, name, attribute(paragraph[0], "alt"))
        if len(figure) > room:
            figure = f'<p><a href="{name}">{name}</a> is too large for this page.</p>'
        room -= len(figure)
        body = body.replace(paragraph[0], figure, 1)
    return body


def attribute(html: str, name: str) -> str:
    """Return the value of an attribute in the HTML of one element, or nothing."""
    found = re.search(rf'{name}="([^"]*)"', html)
    return found[1] if found else ""


def inline_figure(root: Path, name: str, text: str) -> str:
    """Return a figure as HTML, its panels side by side, or on a narrow screen in a column.

    Args:
        root: of the checkout.
        name: of the file, from the page's folder.
        text: alternative text of the figure.
    """
    path = root / paths.REPORT.parent / name
    with files.file_errors(path):
        content = path.read_bytes()
        if not content.endswith(PNG_END):
            raise ValueError("it is truncated, or is no PNG picture")
        picture = Image.open(io.BytesIO(content)).convert("RGB")
    images = []
    for panel in panels_of(picture, len(MODELS)):
        images.append(f'<img src="data:image/png;base64,{png64(panel)}" alt="{text}">')
        text = ""  # only the first panel has it
    return f'<div class="figure">{"".join(images)}</div>'


def panels_of(picture: Image.Image, count: int) -> Iterator[Image.Image]:
    """Yield the panels of a picture that has so many side by side, else the picture itself."""
    cuts = [0, *cuts_between(picture, count), picture.width]
    for left, right in pairwise(cuts):
        yield picture.crop((left, 0, right, picture.height))


def cuts_between(picture: Image.Image, count: int) -> list[int]:
    """Return the columns without ink where the panels of a wide picture can be cut apart."""
    if picture.width < 1.2 * picture.height:
        return []
    blank = np.all(np.asarray(picture) == 255, axis=(0, 2))
    cuts = []
    for k in range(1, count):
        middle = k * picture.width // count
        reach = picture.width // (8 * count)
        near = np.flatnonzero(blank[middle - reach : middle + reach])
        if len(near):
            cuts.append(int(middle - reach + near[np.argmin(np.abs(near - reach))]))
    return cuts


def png64(picture: Image.Image) -> str:
    """Return a picture as a PNG with a palette, in base64."""
    with io.BytesIO() as file:
        # Keeps the colours of small marks, which the median cut mixes, in a tenth of the time.
        small = picture.quantize(COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        small.save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()
