"""Processes that are forked, and killed at a moment of their work."""

import os
import signal
import sys
import time
import traceback

from sqlalchemy import event
from sqlalchemy.engine import Engine


def start(function, *arguments):
    """Call a function in a process of its own, which has all imports already; return its ID."""
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def end(child, seconds=300):
    """Wait for a process of `start`; return its status."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"it did not end within {seconds} seconds")


def call(function, *arguments):
    """Call a function in a process of its own, and wait for it; return its status."""
    return end(start(function, *arguments))


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def at_moments(folder, act):
    """From now on call act(moment) whenever a store changes: at a commit or at a written file.

    Args:
        folder: of the store.
        act: gets 1, 2, 3 and so on.
    """
    moment = 0

    def count():
        nonlocal moment
        moment += 1
        act(moment)

    def audit(name, arguments):
        if name != "open":
            return
        path, mode, _ = arguments
        if str(path).startswith(str(folder)) and "w" in str(mode):
            count()

    sys.addaudithook(audit)
    event.listen(Engine, "commit", lambda connection: count())


def count_moments(folder, publish_in):
    """Return how often a store changes in publish_in(folder)."""
    file = folder.parent / "moments"  # not below the folder that is watched

    def counted():
        at_moments(folder, lambda moment: file.write_text(str(moment)))
        publish_in(folder)

    assert call(counted) == 0
    return int(file.read_text())


def is_killed_at(moment, folder, publish_in):
    """Call publish_in(folder) in a process that is killed at a moment; return whether it was."""

    def kill(reached):
        if reached == moment:
            kill_myself()

    def killed():
        at_moments(folder, kill)
        publish_in(folder)

    return call(killed) == signal.SIGKILL
