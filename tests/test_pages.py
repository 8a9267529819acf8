"""The report page in a real checkout, in a real browser that reaches no network."""

import json
import re
import shlex

import pytest
from axe import violations
from browser import MISSING, Browser

from pictures.report_page import MOST_CHARACTERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING, reason="chromium and chromedriver are missing"),
]
PICTURES = "return [...document.images].map(image => image.complete && image.naturalWidth)"
PLOTS = "[...document.querySelectorAll('.vega-embed canvas')].map(canvas => canvas.width)"
FITS = "return document.documentElement.scrollWidth <= window.innerWidth"
TRAINED = "document.querySelectorAll('.digests .save:not([hidden])').length == 2"
SAME = "return [...document.querySelectorAll('.verdict')].map(verdict => verdict.innerText)"
BOX = "[data-key='train_mlp.hidden_units'] input"
SET_UNITS = f"""
const box = document.querySelector("{BOX}");
box.value = "7";
box.dispatchEvent(new Event("change"));"""
COPIED = """
return new Promise(done => {
  navigator.clipboard.writeText = (text) => Promise.resolve(done(text));
  document.querySelector(".copy").click();
});"""
NUMBERS = """
return Object.fromEntries(["linear", "mlp"].map(name => [name, explorer.final(name)]));"""


@pytest.fixture(scope="module")
def browser():
    with Browser(width=1440, height=900) as browser:
        yield browser


@pytest.fixture
def report(ran):
    return ran.root / "reports/report.html"


def open_page(browser, path, width=1440):
    browser.emulate(width=width)
    browser.open("about:blank")
    browser.open(path.as_uri())


def test_plots_of_dvc_are_shown_without_a_network(ran, browser):
    ran.run("dvc", "plots", "show")
    page = ran.root / "dvc_plots/index.html"
    assert not re.search(r"<script[^>]+src|<link|url\(http", page.read_text())
    open_page(browser, page, width=500)
    browser.wait(f"{PLOTS}.length == 4")
    assert all(width > 200 for width in browser.script(f"return {PLOTS}"))
    assert all(browser.script(PICTURES))
    assert browser.script(FITS)
    assert ".png" not in browser.text(), "titles, no names of files"


def test_the_report_page_is_small_and_shows_its_figures(report, browser):
    assert report.stat().st_size <= MOST_CHARACTERS
    open_page(browser, report)
    widths = browser.script(PICTURES)
    assert len(widths) >= 4 and all(widths)


def test_the_page_computes_the_files_of_this_checkout(report, browser):
    open_page(browser, report)
    browser.wait(TRAINED)
    assert all("\u2713" in verdict for verdict in browser.script(SAME))


def test_the_copied_line_makes_dvc_compute_what_the_page_shows(ran, report, browser):
    open_page(browser, report)
    browser.wait(TRAINED)
    browser.script(SET_UNITS)
    browser.wait(TRAINED)
    line = browser.script(COPIED)
    assert line == "dvc exp run -S train_mlp.hidden_units=7"
    ran.run(*shlex.split(line))
    metrics = json.loads((ran.root / "reports/metrics.json").read_text())
    assert browser.script(NUMBERS) == metrics


def test_without_javascript_the_page_says_so_and_shows_the_figures(report, browser):
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        open_page(browser, report)
        text = browser.call("/element/" + body_of(browser) + "/text", method="GET")
        assert "Without JavaScript" in text
        assert "Play" not in text
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def body_of(browser):
    return browser.element("body").removeprefix("/element/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing(width, scheme, report, browser):
    browser.emulate(width=width, prefers_color_scheme=scheme)
    browser.open(report.as_uri())
    browser.wait(TRAINED)
    browser.script("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert violations(browser) == []
    browser.script("delete window.axeFound; document.querySelector('#tab-unit').click()")
    browser.wait("document.querySelectorAll('.pushes li').length > 0")
    assert violations(browser) == []
