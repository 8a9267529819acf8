"""axe-core, which finds faults of accessibility, run on the page that a browser shows."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

VERSION = "4.10.3"
RUN = "axe.run().then((found) => { window.axeFound = found; });"
FOUND = """return window.axeFound.violations.flatMap(({id, nodes}) =>
  nodes.map((node) => `${id}: ${node.html.slice(0, 200)}`));"""


@cache
def axe_source():
    """The script of axe-core, from npm; the test is skipped where that cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder]
        done = subprocess.run(
            [*command, f"axe-core@{VERSION}"], capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            pytest.skip(f"npm cannot install axe-core: {done.stderr.strip()[-200:]}")
        return Path(folder, "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def violations(browser):
    """What axe-core finds on the page, a text for each element."""
    browser.script(axe_source())
    browser.script(RUN)
    browser.wait("window.axeFound !== undefined")
    return browser.script(FOUND)
