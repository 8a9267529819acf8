"""A Python process that has imported DVC and MLflow, and forks for each command.

Importing both takes as long as a short training. This file is sent to the workers of a Dask
cluster, so it imports nothing but the standard library.

    python warm.py serve FILE_DESCRIPTOR MODULE ...   the process itself: see WarmPython
    python warm.py call ADDRESS SCRIPT ARGUMENT ...   a script in a fork of it: see SHIM
"""

import gc
import importlib
import json
import os
import random
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

MODULES = (
    "dvc.commands.experiments.run",
    "dvc.repo.experiments.queue.workspace",
    "mlflow.models",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
)
READ_AT_IMPORT = {"GIT_PYTHON_REFRESH": "quiet", "MLFLOW_LOGGING_LEVEL": "CRITICAL"}
KILLED = -signal.SIGKILL  # exit code, as `subprocess` has it

# A `python` that is found before the real one. DVC starts stages by name: the one that runs the
# bridge, which imports MLflow, becomes a fork; all others run as ever.
SHIM = """#!/bin/sh
script=$1
[ "$1" = -E ] && script=$2
case "$script" in
  bridge | */bridge)
    [ "$1" = -E ] && shift
    exec {python} -E -S {warm} call {address} "$@" ;;
esac
exec {python} "$@"
"""


class WarmPython:
    """A process that runs Python scripts, each in a fork of itself.

    It ends with this process, however this one dies, or by `close`; its forks, and what they
    have started, end with it.
    """

    def __init__(self, modules: Sequence[str] = MODULES) -> None:
        """Start the process, which imports these modules; scripts may be sent at once."""
        # Not in TMPDIR: the address of a socket has at most 107 characters, on macOS 103.
        self.folder = Path(tempfile.mkdtemp(prefix="warm-", dir="/tmp"))
        self.address = str(self.folder / "socket")
        self._write_shim()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.address)
            server.listen()
            command = [sys.executable, "-E", __file__, "serve", str(server.fileno()), *modules]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                pass_fds=[server.fileno()],
                start_new_session=True,
            )

    def _write_shim(self) -> None:
        names = {"python": sys.executable, "warm": __file__, "address": self.address}
        quoted = {key: shlex.quote(name) for key, name in names.items()}
        shim = self.folder / "python"
        shim.write_text(SHIM.format(**quoted))
        shim.chmod(0o700)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which `python src/bridge` is run by the process, too."""
        path = environment.get("PATH", os.defpath)
        return {**environment, "PATH": f"{self.folder}{os.pathsep}{path}"}

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        files: Sequence[IO[Any]],
    ) -> int:
        """Return the exit code of a script: see `call`."""
        return call(self.address, command, folder, environment, files)

    def close(self) -> None:
        """Kill the process, its forks, and what they have started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.process:  # waits for it
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "WarmPython":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def call(
    address: str,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    files: Sequence[IO[Any]],
) -> int:
    """Run a Python script in a fork of the process that listens at a Unix socket.

    Args:
        address: path of the socket.
        command: the script and its arguments.
        folder: current folder of the script.
        environment: all of its environment.
        files: its output, its errors, and one that it holds open until it ends.

    Returns:
        Exit code of the script; KILLED if it was killed, or if there is no such process.
    """
    request = json.dumps([command, str(folder), dict(environment)]).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            sent = socket.send_fds(connection, [request], [file.fileno() for file in files])
            if sent < len(request):  # to send nothing fails where the fork has ended already
                connection.sendall(request[sent:])
            reply = connection.recv(16)
        except (ConnectionError, FileNotFoundError):
            return KILLED
    return int(reply) if reply else KILLED


def serve(server: socket.socket, modules: Sequence[str]) -> NoReturn:
    """Run scripts for whoever connects, until the other end of standard input is closed."""
    os.environ.update(READ_AT_IMPORT)
    for name in modules:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    alone = sys.stdin.fileno()
    while True:
        readable, _, _ = select.select([alone, server], [], [])
        if alone in readable:
            break
        connection, _ = server.accept()
        with connection:
            if os.fork() == 0:
                server.close()
                _run_request(connection)
    shutil.rmtree(os.path.dirname(server.getsockname()), ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
    sys.exit()  # not reached


def _run_request(connection: socket.socket) -> NoReturn:
    """Run the script that is asked for, in this fork, and send its exit code."""
    request, files, _, _ = socket.recv_fds(connection, 2**20, 3)
    while not request.endswith(b"\n"):
        more = connection.recv(2**20)
        if not more:  # who asked was killed meanwhile
            os._exit(1)
        request += more
    sys.argv, folder, environment = json.loads(request)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    standard = [os.open(os.devnull, os.O_RDONLY), *files[:2]]
    for descriptor, file in enumerate(standard):
        os.dup2(file, descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = _run_script(sys.argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    # Before the code is sent: this fork takes a while to end, and one of the files may be a lock.
    for file in files:
        os.close(file)
    connection.sendall(str(code).encode())
    os._exit(code)


def _run_script(path: str) -> int:
    """Return the exit code of a script, as Python itself would end with it."""
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        if end.code is None:
            return 0
        if isinstance(end.code, int):
            return end.code
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> int:
    action, place, *arguments = sys.argv[1:]
    if action == "serve":
        serve(socket.socket(fileno=int(place)), arguments)
    environment = dict(os.environ)
    return call(place, arguments, Path.cwd(), environment, [sys.stdout, sys.stderr])


if __name__ == "__main__":
    sys.exit(main())
