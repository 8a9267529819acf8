"""A Python that has imported DVC and MLflow, and forks for each command: importing them takes as long as a training.

Like worker.py the file is sent to the workers, and imports nothing of this project.
"""

import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress

IMPORTED = (
    "dvc.commands.experiments.run",
    "dvc.repo.experiments.queue.workspace",
    "mlflow.models",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
)


def serve(address):
    """Runs Python scripts, each in a fork, for whoever connects to the Unix socket of this address.

    It ends, with all of its session, when nobody has the other end of its standard input any more: however
    the process that started it died.
    """
    os.environ.update(
        GIT_PYTHON_REFRESH="quiet", MLFLOW_LOGGING_LEVEL="WARNING"
    )  # they are read at the import
    for name in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen()
        os.rename(f"{address}.new", address)  # whoever finds it can connect
        while 0 not in select.select([0, server], [], [])[0]:
            connection, _ = server.accept()
            with connection:
                if os.fork() == 0:
                    server.close()
                    _run(connection)
    os.remove(address)
    with suppress(OSError):  # it is not ours alone
        os.rmdir(os.path.dirname(address))
    os.killpg(0, signal.SIGKILL)


def _run(connection):
    """In the fork: runs the script, which prints into the first two of the sent files, and sends its exit code."""
    told, files, *_ = socket.recv_fds(connection, 2**20, 3)
    while not told.endswith(b"\n"):
        if not (more := connection.recv(2**20)):  # who asked was killed meanwhile
            os._exit(1)
        told += more
    sys.argv, folder, environment = json.loads(told)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    for place, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files[:2])):
        os.dup2(file, place)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    for file in files:
        os.close(
            file
        )  # before it is told: this process takes a while to end, and one of them may be a lock
    connection.sendall(str(code).encode())
    os._exit(code)


def start():
    """Starts a server, which ends with this process; returns its address, where it listens already, and the process.

    ChildProcessError if it ended at once.
    """
    address = f"{tempfile.mkdtemp()}/warm"
    command = [sys.executable, "-E", __file__, address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    while not os.path.exists(address):
        if process.poll() is not None:
            raise ChildProcessError
        time.sleep(0.05)
    return address, process


def call(address, command, folder, environment, *files):
    """Exit code of a Python script that the server of this address runs; files: its output, its errors, one to hold."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        told = json.dumps([command, str(folder), environment])
        socket.send_fds(connection, [told.encode() + b"\n"], [file.fileno() for file in files])
        return int(connection.recv(16) or 1)  # nothing comes from one that was killed


if __name__ == "__main__":
    serve(sys.argv[1])
