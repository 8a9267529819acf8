"""A port for a server of a test."""

import contextlib
import secrets
import socket


def free_port():
    """Return a port that nothing listens at; the system itself hands out those from 32768 on."""
    while True:
        port = secrets.choice(range(20_000, 30_000))
        with contextlib.suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
