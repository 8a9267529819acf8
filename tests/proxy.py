"""A proxy before a tracking server: it counts the requests, delays each, and can hold some."""

import http.client
import http.server
import threading
import time
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit


class Request(NamedTuple):
    """A request that was answered; times in seconds."""

    method: str
    path: str  # without the query
    came: float
    answered: float


class Proxy(http.server.ThreadingHTTPServer):
    """A server that hands every request on; `requests` has those that were answered, in order."""

    daemon_threads = True

    def __init__(self, address, delay=0, before=lambda method, path: None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.server = urlsplit(address).netloc
        self.delay = delay  # seconds
        self.before = before  # is called with a request before it is handed on, and may wait
        self.requests = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def at_once(self):
        """The largest number of requests that were on their way at the same time."""
        changes = []
        for request in self.requests:
            changes += [(request.came, 1), (request.answered, -1)]
        current = 0
        largest = 0
        for _, change in sorted(changes):
            current += change
            largest = max(largest, current)
        return largest

    def in_turn(self):
        """The largest number of requests each of which came after the one before was answered."""
        count = 0
        end = 0
        for request in sorted(self.requests, key=lambda request: request.answered):
            if request.came >= end:
                count += 1
                end = request.answered
        return count


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        came = time.monotonic()
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.before(self.command, path)
        time.sleep(self.server.delay)
        connection = http.client.HTTPConnection(self.server.server, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.server.requests.append(Request(self.command, path, came, time.monotonic()))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_):
        pass


@contextmanager
def proxied(address, **options):
    """A `Proxy` before the server at the address, as long as the block runs."""
    with Proxy(address, **options) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
