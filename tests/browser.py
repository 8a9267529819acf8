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
        self.arguments = [
            *ARGUMENTS,
            f"--window-size={width},{height}",
            f"--force-device-scale-factor={scale}",
        ]

    def __enter__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        port = next(
            line.split()[-1].rstrip(".")
            for line in self.driver.stdout
            if "started successfully" in line
        )
        self.session = f"http://127.0.0.1:{port}/session"
        options = {"args": self.arguments, "binary": CHROMIUM}
        logged = {"browser": "ALL", "performance": "ALL"}
        capabilities = {
            "capabilities": {
                "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logged}
            }
        }
        self.session += "/" + self.call("", capabilities)["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.call("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.communicate(timeout=30)

    def call(self, path, body=None, method="POST"):
        data = None if method in ("DELETE", "GET") else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            self.session + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["value"]

    def cdp(self, command, **parameters):
        """A command of the Chrome DevTools Protocol."""
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, address):
        self.call("/url", {"url": address})

    def script(self, source, *arguments):
        """What the JavaScript returns; it finds the arguments in `arguments`."""
        return self.call("/execute/sync", {"script": source, "args": arguments})

    def wait(self, source, seconds=60):
        """Waits until the JavaScript expression is true, and returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.script(f"return {source}")):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {seconds} s: {source}")
            time.sleep(0.05)
        return value

    def text(self):
        return self.script("return document.body.innerText")

    def element(self, selector):
        """The address of the first element of a CSS selector, for `call`."""
        found = self.call("/element", {"using": "css selector", "value": selector})
        return f"/element/{next(iter(found.values()))}"

    def type(self, selector, text):
        """Types into the first element of a CSS selector; \\ue007 is the return key."""
        self.call(f"{self.element(selector)}/value", {"text": text})

    def press(self, *keys):
        """Presses keys one after another, for whatever has the focus."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def move(self, selector, *places, drag=False, kind="mouse"):
        """Moves a pointer over an element.

        Args:
            selector: of the element, which is scrolled into view.
            places: where it goes, each as x and y in CSS pixels from the upper left corner.
            drag: whether the button is held, or the finger down, from the first to the last.
            kind: "mouse" or "touch".

        Returns:
            The places in whole pixels of the page, as the element is told them.
        """
        left, top = self.script(
            """const element = document.querySelector(arguments[0]);
            element.scrollIntoView({block: "center", behavior: "instant"});
            const {left, top} = element.getBoundingClientRect();
            return [left, top];""",
            selector,
        )
        pixels = [(round(left + x), round(top + y)) for x, y in places]
        moves = [{"type": "pointerMove", "duration": 40, "x": x, "y": y} for x, y in pixels]
        if drag:
            button = {"button": 0}
            moves = [
                moves[0],
                {"type": "pointerDown", **button},
                *moves[1:],
                {"type": "pointerUp", **button},
            ]
        pointer = {
            "type": "pointer",
            "id": kind,
            "parameters": {"pointerType": kind},
            "actions": moves,
        }
        self.call("/actions", {"actions": [pointer]})
        return [(x - left, y - top) for x, y in pixels]

    def log(self, kind):
        """What was logged since the last call: "browser" is the console, "performance" the rest."""
        return self.call("/se/log", {"type": kind})

    def emulate(self, width=None, scale=1, **features):
        """Another width and scale of the page; media features, as prefers_color_scheme="dark"."""
        if width:
            size = {"width": width, "height": 900, "deviceScaleFactor": scale, "mobile": False}
            self.cdp("Emulation.setDeviceMetricsOverride", **size)
        media = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.cdp("Emulation.setEmulatedMedia", features=media)

    def screenshot(self, path):
        picture = self.call("/screenshot", method="GET")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(base64.b64decode(picture))
