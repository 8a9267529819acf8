"""The report as one HTML file: figures in it, tables for a keyboard, and nothing from a network."""

import base64
import io
import re

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from pictures import report_page
from pipeline.errors import UserError
from pipeline.params import load_params

TEXT = """# The data: the report

Written by somebody.

![It moves](models/mlp/learning.gif)

|  | linear | network |
| --- | ---: | ---: |
| loss | 1 | 2 |

![Two panels](figures/two.png)

<img alt="One panel" src="figures/one.png" width="420">
"""


@pytest.fixture
def root(tmp_path):
    """A checkout with a picture of two panels, with white between them, and one of one panel."""
    folder = tmp_path / "reports/figures"
    folder.mkdir(parents=True)
    two = np.full((60, 100, 3), 255, np.uint8)
    two[10:50, 5:44] = (0, 114, 178)
    two[10:50, 52:95] = (230, 159, 0)
    Image.fromarray(two).save(folder / "two.png")
    Image.fromarray(two[:, :50]).save(folder / "one.png")
    return tmp_path


@pytest.fixture
def html(root, monkeypatch):
    monkeypatch.setattr(report_page, "MODELS", ["left", "right"])
    monkeypatch.setattr(report_page, "explorer", lambda root, params, room: f"<p>room {room}</p>")
    return report_page.report_page(TEXT, root, load_params(ROOT))


def pictures(html):
    found = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)">', html)
    return [(Image.open(io.BytesIO(base64.b64decode(data))), text) for data, text in found]


def test_panels_of_a_figure_are_pictures_of_their_own(html):
    left, right, one = pictures(html)
    assert left[0].width + right[0].width == 100
    assert 44 < left[0].width <= 52
    assert one[0].width == 50


def test_a_figure_is_described_once(html):
    assert [text for _, text in pictures(html)] == ["Two panels", "", "One panel"]


def test_a_figure_keeps_its_colours(root, html):
    left = np.asarray(pictures(html)[0][0].convert("RGB"))
    figure = np.asarray(Image.open(root / "reports/figures/two.png"))
    assert (left == figure[:, : left.shape[1]]).all()


def test_the_explorer_stands_in_the_place_of_the_animation(html):
    places = [html.index(part) for part in ("<h1>", "<p>room ", "<noscript><p>", "<table>")]
    assert places == sorted(places)
    assert ".gif" not in html


def test_the_explorer_gets_the_room_that_is_left(html):
    room = int(re.search(r"<p>room (\d+)</p>", html)[1])
    rest = len(html) - len(f"<p>room {room}</p>") + len(report_page.EXPLORER)
    assert room + rest == report_page.MOST_CHARACTERS


def test_tables_can_be_scrolled_by_keys_and_have_no_empty_header(html):
    assert '<div class="table" role="region" tabindex="0" aria-label="Table 1"><table>' in html
    assert html.count("</table></div>") == html.count("<table>") == 1
    assert not re.search(r"<th[^>]*></th>", html)


def test_the_page_loads_nothing(html):
    assert not re.search(r"https?:|[\"'(]//|@import|url\(", html)


def test_a_truncated_picture_is_refused(root):
    path = root / "reports/figures/two.png"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"figures/two\.png: it is truncated, or is no PNG picture"):
        report_page.report_page(TEXT, root, load_params(ROOT))


def test_figures_that_are_too_large_for_the_page_are_links(root, monkeypatch):
    monkeypatch.setattr(report_page, "MODELS", ["left", "right"])
    monkeypatch.setattr(report_page, "explorer", lambda root, params, room: "")
    monkeypatch.setattr(report_page, "MOST_FIGURES", 10)
    html = report_page.report_page(TEXT, root, load_params(ROOT))
    assert '<a href="figures/two.png">figures/two.png</a> is too large for this page.' in html
    assert pictures(html) == []
