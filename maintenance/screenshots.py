"""Take the screenshots of the README again, in docs/images: `make screenshots`.

In a clone of the last commit: the published run and a few experiments, then the pages in
Chromium (chromium and chromedriver of Debian, or of whatever else puts them in the PATH).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from browser import Browser
from PIL import Image
from runs import serving

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
EXPERIMENTS = {"width-3": 3, "width-10": 10, "width-30": 30}  # hidden units
CHARTS = "/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART"
LOADED = "[...document.images].every(image => image.complete)"
CHARTS_DRAWN = (
    "document.querySelectorAll('.js-plotly-plot').length >= 4 && document.images.length >= 2"
)
# A browser without a mouse shows the buttons of every chart, and MLflow opens its assistant at
# the first visit.
TIDY = """
const style = document.createElement("style");
style.textContent = ".modebar { display: none !important }";
document.head.append(style);
document.querySelector("[aria-label=Close]")?.click();
"""
# The third question of the report: a misclassified point, and one step.
ONE_STEP = """
[...document.querySelectorAll("button")].find(b => b.textContent.trim() === "3").click();
setTimeout(() => [...document.querySelectorAll("button")]
  .find(b => b.textContent.trim() === "Choose one").click(), 500);
setTimeout(() => [...document.querySelectorAll("button")]
  .find(b => b.textContent.trim() === "One step").click(), 2500);
"""
MAX_BYTES = 400_000  # of a picture


def run(*command: str, folder: Path) -> None:
    """Run a command; if it fails, end the program with its output."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def take(name: str, address: str, ready: str, size: tuple[int, int], tidy: str = "") -> None:
    """Take one screenshot.

    Args:
        name: of the picture.
        address: of the page.
        ready: JavaScript that is true when the page is complete.
        size: of the page, in pixels.
        tidy: JavaScript that is run then.
    """
    path = IMAGES / f"{name}.png"
    with Browser(*size) as browser:
        browser.open(address)
        browser.wait(ready, seconds=120)
        browser.script(tidy)
        time.sleep(4)  # what moves, or is drawn again
        browser.screenshot(path)
    Image.open(path).convert("RGB").save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path} is larger than {MAX_BYTES} bytes")
    print(path.relative_to(ROOT))


def make_clone(root: Path) -> None:
    """Clone the last commit, run the pipeline and the experiments, and write the pages."""
    run("git", "clone", "--quiet", str(ROOT), str(root), folder=ROOT)
    run("dvc", "repro", "--quiet", folder=root)
    for name, units in EXPERIMENTS.items():
        experiment = ["dvc", "exp", "run", "--quiet", "--temp", "--name", name]
        run(*experiment, "-S", f"train_mlp.hidden_units={units}", folder=root)
    run(sys.executable, "tools/compare", folder=root)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "spirals"
        make_clone(root)
        compare = root / "dvc_plots" / "compare" / "index.html"
        report = root / "reports" / "report.html"
        take("compare", compare.as_uri(), LOADED, (1320, 1080))
        take("report", report.as_uri(), LOADED, (1440, 1000), ONE_STEP)
        with serving(root, "ui") as address:
            take("mlflow", address + CHARTS, CHARTS_DRAWN, (1500, 1180), TIDY)


if __name__ == "__main__":
    main()
