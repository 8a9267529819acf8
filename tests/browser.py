"""Chromium without a window, driven through chromedriver's HTTP interface (W3C WebDriver)."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LEFT, RIGHT = "\ue012", "\ue014"  # keys (W3C WebDriver)
MISSING = CHROMIUM is None or shutil.which("chromedriver") is None
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
]


class Browser:
    """A context manager; not where the programs are MISSING.

    Args:
        width, height: of the page, in CSS pixels.
        scale: device pixels for each of them.
    """

    def __init__(self, width=1400, height=1000, scale=1):
        self.arguments = [*ARGUMENTS, f"--window-size={width},{height}", f"--force-device-scale-factor={scale}"]

    def __enter__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = next(line.split()[-1].rstrip(".") for line in self.driver.stdout if "started successfully" in line)
        self.session = f"http://127.0.0.1:{port}/session"
        options = {"args": self.arguments, "binary": CHROMIUM}
        capabilities = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.session += "/" + self.call("", capabilities)["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.call("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.communicate(timeout=30)

    def call(self, path, body=None, method="POST"):
        data = None if method == "DELETE" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.session + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, address):
        self.call("/url", {"url": address})

    def script(self, source):
        """What the JavaScript returns."""
        return self.call("/execute/sync", {"script": source, "args": []})

    def wait(self, source, seconds=60):
        """Waits until the JavaScript expression is true, and returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.script(f"return {source}")):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {seconds} s: {source}")
            time.sleep(0.3)
        return value

    def text(self):
        return self.script("return document.body.innerText")

    def type(self, selector, text):
        """Types into the first element of a CSS selector; \\ue007 is the return key."""
        element = self.call("/element", {"using": "css selector", "value": selector})
        self.call(f"/element/{[*element.values()][0]}/value", {"text": text})

    def screenshot(self, path):
        # "GET" in the protocol: the only call without a body that is not the end
        request = urllib.request.Request(f"{self.session}/screenshot")
        with urllib.request.urlopen(request, timeout=60) as answer:
            picture = json.load(answer)["value"]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(base64.b64decode(picture))
