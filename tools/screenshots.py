"""Takes the README's screenshots again, in docs/images: make screenshots

In a clone of the last commit: the published run and a few experiments, then the pages in
Chromium (chromium and chromedriver of Debian, or of whatever else puts them in the PATH).
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser  # noqa: E402

IMAGES = ROOT / "docs" / "images"
EXPERIMENTS = {"width-3": 3, "width-10": 10, "width-30": 30}
# A browser without a mouse shows every chart's buttons, and MLflow opens its assistant at the first visit.
TIDY = """
const style = document.createElement("style");
style.textContent = ".modebar { display: none !important }";
document.head.append(style);
document.querySelector("[aria-label=Close]")?.click();
"""
LARGEST = 300_000  # bytes of a picture


def run(*command, root):
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def mlflow_ui(root):
    """The address of an MLflow UI on the store of the clone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{root / 'mlflow.db'}"
    command = [
        "mlflow",
        "ui",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        store,
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART"
    finally:
        server.terminate()
        server.wait(20)


def take(name, address, ready, size, tidy=""):
    """One screenshot; `ready` is the JavaScript to wait for, `tidy` is run then."""
    path = IMAGES / f"{name}.png"
    with Browser(*size) as browser:
        browser.open(address)
        browser.wait(ready, seconds=120)
        browser.script(tidy)
        time.sleep(4)  # what moves, or is drawn anew
        browser.screenshot(path)
    Image.open(path).convert("RGB").save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST} bytes")
    print(path.relative_to(ROOT))


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "spirals"
        run("git", "clone", "--quiet", str(ROOT), str(root), root=ROOT)
        run("dvc", "repro", "--quiet", root=root)
        for name, units in EXPERIMENTS.items():
            run(
                "dvc",
                "exp",
                "run",
                "--quiet",
                "--temp",
                "-n",
                name,
                "-S",
                f"train_mlp.hidden_units={units}",
                root=root,
            )
        run(sys.executable, "tools/compare", root=root)
        pages = {
            "compare": root / "dvc_plots/compare/index.html",
            "report": root / "reports" / "report.html",
        }
        loaded = "[...document.images].every(image => image.complete)"
        take("compare", pages["compare"].as_uri(), loaded, (1320, 1080))
        take("report", pages["report"].as_uri(), loaded, (900, 1250))
        with mlflow_ui(root) as address:
            drawn = "document.querySelectorAll('.js-plotly-plot').length >= 4 && document.images.length >= 2"
            take("mlflow", address, drawn, (1500, 1180), TIDY)


if __name__ == "__main__":
    main()
