"""What a worker of tools/sweep does: one experiment in a clone of its own.

The file is sent to the workers, where there may be nothing of this project yet. So it imports
the standard library only.
"""

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Ends a command with the worker that started it: the pipe closes when the worker is gone, however it died.
GUARD = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], start_new_session=True)
def watch():
    os.read(0, 1)
    os.killpg(child.pid, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.exit(child.wait())
"""


class Failed(Exception):
    """A command failed; says why."""


def run_experiment(name, values, job):
    """Runs one experiment and pushes it to the repository that the clone came from.

    The first free clone of the folder is used, and used again for the next experiment. One in
    which something was interrupted or failed is thrown away.

    Args:
        name: of the experiment.
        values: by key, for `dvc exp run -S`.
        job: rev, the commit that all start from; address of the repository; folder of the
            clones; env, more environment; cache, folder of DVC's cache, or None for the
            clone's own; push, whether the data go to DVC's remote.

    Returns:
        None, or why the experiment failed.
    """
    folder = Path(job["folder"]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    number, lock = _first_free(folder)
    clone, busy = folder / str(number), folder / f"{number}.busy"
    ref = f"refs/exps/{job['rev'][:2]}/{job['rev'][2:]}/{name}"
    settings = [argument for key, value in values.items() for argument in ("-S", f"{key}={value}")]

    def run(*command, cwd=clone):
        return _run(command, cwd, job["env"], lock)

    with lock:
        if busy.exists():
            shutil.rmtree(clone, ignore_errors=True)
        busy.touch()
        try:
            if not clone.exists():
                run("git", "clone", "--quiet", job["address"], str(clone), cwd=folder)
                if job["cache"]:
                    (clone / ".dvc/config.local").write_text(f"[cache]\n    dir = {job['cache']}\n")
            run("git", "fetch", "--quiet", "origin")
            run("git", "checkout", "--quiet", "--force", "--detach", job["rev"])
            run("dvc", "exp", "run", "--name", name, *settings)
            if job["push"]:
                run("dvc", "push")  # before the experiment itself: one that is there is whole
            try:
                run("git", "push", "--quiet", "origin", ref)
            except Failed as error:
                try:
                    run("git", "ls-remote", "--exit-code", "origin", ref)  # a worker taken for dead was first
                except Failed:
                    raise error from None
            run("git", "update-ref", "-d", ref)
        except Failed as error:
            return str(error)
        busy.unlink()
        return None


def _first_free(folder):
    """Number of a clone that nothing runs in, and its lock."""
    for number in itertools.count():
        lock = open(folder / f"{number}.lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number, lock
        except BlockingIOError:
            lock.close()


def _run(command, cwd, more, lock):
    """Runs a command under the guard, which holds the lock too; raises Failed."""
    env = os.environ | more
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["GIT_TERMINAL_PROMPT"] = "0"  # fail instead of waiting for a password
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", GUARD, *command],
        cwd=cwd,
        env=env,
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        pass_fds=[lock.fileno()],
    ) as process:
        output = process.stdout.read().decode(errors="replace")
        if process.wait():
            found = re.search(r"^(?:error|fatal): *(.*)", output, re.MULTILINE | re.IGNORECASE)
            raise Failed(found[1] if found else f"{' '.join(command[:3])} failed: {output.strip()[-300:]}")
