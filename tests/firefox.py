"""Firefox without a window, where it is installed (Debian: `apt-get install firefox-esr`).

Continuous integration has none. It is driven by its own protocol, Marionette, without geckodriver.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress

import browser
from ports import free_port

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")


def connect(port, seconds=60):
    """Return a connection to a program that has just been started."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=300)
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens at port {port} after {seconds} s")


class Firefox:
    """A context manager; it has what the tests of the engine use of `browser.Browser`."""

    MISSING = FIREFOX is None

    def __enter__(self):
        port = free_port()
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        preferences = f'user_pref("marionette.port", {port});\n'
        with open(f"{self.folder.name}/user.js", "w") as file:
            file.write(preferences)
        command = [FIREFOX, "--headless", "--marionette", "--no-remote"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*command, "--profile", self.folder.name], **quiet)
        self.connection = connect(port)
        self.receive()  # it introduces itself
        self.sent = 0
        self.call("WebDriver:NewSession", {})
        self.call("WebDriver:SetTimeouts", {"script": 300_000, "pageLoad": 300_000})
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.process.terminate()
        self.process.wait(timeout=60)
        self.folder.cleanup()

    def receive(self):
        """Return the next message: its length in digits, a colon, and JSON."""
        length = b""
        while not length.endswith(b":"):
            length += self.connection.recv(1)
        text = b""
        while len(text) < int(length[:-1]):
            text += self.connection.recv(int(length[:-1]) - len(text))
        return json.loads(text)

    def call(self, command, parameters):
        self.sent += 1
        message = json.dumps([0, self.sent, command, parameters]).encode()
        self.connection.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self.receive()
        if error:
            raise RuntimeError(f"{command}: {error['error']}: {error['message']}")
        return result

    def open(self, address):
        self.call("WebDriver:Navigate", {"url": address})

    def script(self, source, *arguments):
        parameters = {"script": source, "args": arguments, "sandbox": None}
        return self.call("WebDriver:ExecuteScript", parameters)["value"]

    wait = browser.Browser.wait
