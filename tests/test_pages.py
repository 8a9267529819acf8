"""The pages in a real checkout, opened in a real browser that reaches no network."""

import re
import shutil
import sys

import pytest
from browser import MISSING, Browser

PICTURES = "return [...document.images].map(image => image.complete && image.naturalWidth)"
CURVES = "new Set([...document.querySelectorAll('svg:last-child [data-of]')].map(one => one.dataset.of)).size"
PLOTS = "[...document.querySelectorAll('.vega-embed canvas')].map(canvas => canvas.width)"


@pytest.mark.slow
def test_every_page_shows_its_plots_and_pictures_without_a_network(ran):
    nothing = ran.run(sys.executable, "tools/compare", check=False)
    assert nothing.returncode == 1 and "nothing to compare" in nothing.stderr
    ran.run("dvc", "exp", "run", "--temp", "-n", "few", "-S", "train_mlp.hidden_units=3")

    comparison, own = ran.root / "dvc_plots/compare/index.html", ran.root / "dvc_plots/index.html"
    ran.run("dvc", "plots", "show")
    assert (
        ran.run(sys.executable, "tools/compare", PYTHONSAFEPATH="1").stdout.strip()
        == comparison.as_uri()
    )
    assert "few" in comparison.read_text()
    for page in (own, comparison):
        assert not re.search(r"<script[^>]+src|<link|url\(http", page.read_text()), page

    if MISSING:
        pytest.skip("not looked at: chromium and chromedriver are missing")
    report = ran.root / "reports" / "report.html"
    with Browser(width=500, height=900) as browser:
        # The comparison leaves out the linear classifier, which is the same in both.
        for page, plots, pictures in ((own, 4, 4), (comparison, 0, 2), (report, 0, 4)):
            browser.open(page.as_uri())
            browser.wait(f"{PLOTS}.length == {plots}")
            assert all(width > 200 for width in browser.script(f"return {PLOTS}"))
            widths = browser.script(PICTURES)
            assert len(widths) == pictures and all(widths), page
            assert browser.script(
                "return document.documentElement.scrollWidth <= window.innerWidth"
            ), "fits a phone"
        assert "train_mlp.hidden_units" in browser.text(), "differs from the case study"

        browser.open(own.as_uri())
        assert ".png" not in browser.text() and ".gif" not in browser.text(), (
            "titles, no names of files"
        )
        browser.open(comparison.as_uri())
        assert browser.script(f"return {CURVES}") == 2
        assert browser.script(
            "document.querySelector('figure').focus(); return document.querySelectorAll('.on').length"
        )
        outlined = "return getComputedStyle(document.querySelector('svg .on path')).strokeWidth"
        assert browser.script(outlined) == "2.5px", (
            "what is pointed at is brought out in the charts"
        )

    shutil.rmtree(ran.root / ".dvc/cache/files")
    ran.run(sys.executable, "tools/compare")
    text = comparison.read_text()
    assert text.count("not in DVC's cache") == 2 and "few" in text, "what git has is shown"
