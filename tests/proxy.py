"""A proxy before a tracking server that counts the requests, makes each take longer, and can hold some of them."""

import http.client
import http.server
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit


class Proxy(http.server.ThreadingHTTPServer):
    """What went through it so far.

    requests: (method, path without the query, when it came, when it was answered: seconds) of each, in the order
    of the answers.
    """

    daemon_threads = True

    def __init__(self, address, delay=0, before=lambda method, path: None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.server, self.delay, self.before, self.requests = (
            urlsplit(address).netloc,
            delay,
            before,
            [],
        )

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def at_once(self):
        """The largest number of requests that were on their way at the same time."""
        changes = sorted(
            change for _, _, came, left in self.requests for change in ((came, 1), (left, -1))
        )
        now = most = 0
        for _, change in changes:
            now += change
            most = max(most, now)
        return most

    def in_turn(self):
        """The largest number of requests each of which came after the one before was answered."""
        count, end = 0, 0
        for _, _, came, left in sorted(self.requests, key=lambda request: request[3]):
            if came >= end:
                count, end = count + 1, left
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
        self.server.requests.append((self.command, path, came, time.monotonic()))
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
