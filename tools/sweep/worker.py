"""What a worker of tools/sweep does: one experiment in a clone of its own.

The file is sent to the workers, with warm.py, where there may be nothing of this project yet. So it
imports the standard library only.
"""

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import warm

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

# What DVC says of a run that is being written into its cache: it took the file for broken, or found none in the folder.
HALF_WAY = r"/runs/\w+/\w+/\.[\w-]+\.tmp|join\(\) argument must be .* not 'NoneType'"
TRIES = 5  # it may happen at each stage that experiments have in common


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
        _run(command, cwd, job["env"], lock)

    def dvc(*command):
        _run_warm(["dvc", *command], clone, job["env"], lock)

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
            for left in reversed(range(TRIES)):
                try:
                    run("git", "checkout", "--quiet", "--force", "--detach", job["rev"])
                    dvc("exp", "run", "--name", name, *settings)
                    break
                except Failed as error:
                    if not left or not re.search(HALF_WAY, str(error)):
                        raise
                    # Another worker was writing into the cache of runs: now it has written.
                    # Nor does DVC replace what it has not put into its cache yet.
                    run("git", "clean", "-dfxq", "--exclude=/.dvc")
            if job["push"]:
                dvc("push")  # before the experiment itself: one that is there is whole
            try:
                run("git", "push", "--quiet", "origin", ref)
            except Failed as error:
                try:
                    run(
                        "git", "ls-remote", "--exit-code", "origin", ref
                    )  # a worker taken for dead was first
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
    with subprocess.Popen(
        [sys.executable, "-c", GUARD, *command],
        cwd=cwd,
        env=_environment(more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lock.fileno()],
    ) as process:
        output = process.stdout.read()
    _check(command, process.returncode, output)


def _run_warm(command, cwd, more, lock):
    """The same for a script of Python that is on the path, by the process that has imported much of it."""
    env = _environment(more) | {"BRIDGE_PUBLISHER": _warm()}
    script = shutil.which(command[0], path=env["PATH"])
    with tempfile.TemporaryFile() as output:
        code = warm.call(_warm(), [script, *command[1:]], cwd, env, output, output, lock)
        output.seek(0)
        _check(command, code, output.read())


@cache
def _warm():
    """Address of a process of warm.py that ends with this one."""
    try:
        return warm.start()[0]
    except ChildProcessError:
        raise Failed("cannot start Python") from None


def _environment(more):
    env = os.environ | more
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["GIT_TERMINAL_PROMPT"] = "0"  # fail instead of waiting for a password
    return env


def _check(command, code, output):
    if code:
        output = output.decode(errors="replace")
        found = re.search(r"^(?:error|fatal): *(.*)", output, re.MULTILINE | re.IGNORECASE)
        raise Failed(
            found[1] if found else f"{' '.join(command[:3])} failed: {output.strip()[-300:]}"
        )
