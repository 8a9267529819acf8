"""Publish the results, and serve the local store in the MLflow UI, on this machine only."""

import os
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bridge.errors import UserError, exit_on_user_error
from bridge.store import configured_store

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"  # there is no password: whoever reaches the port can read files
DEFAULT_PORT = "5000"


def free_port(text: str) -> int:
    """Return the first free port, from the given one on.

    Raises:
        UserError: the text is not a port, or all are taken.
    """
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UserError(f"MLFLOW_PORT is {text}, but must be a whole number from 1 to 65535")
    for port in range(int(text), 65536):
        with socket.socket() as client:
            if client.connect_ex((HOST, port)) != 0:
                return port
    raise UserError(f"all ports from {text} on are taken: set MLFLOW_PORT to a lower one")


def main() -> None:
    store = configured_store(ROOT, "")
    if store.is_remote:
        raise UserError(
            f"the runs are already at {store.redacted_uri}, which MLFLOW_TRACKING_URI names"
        )
    wanted = os.environ.get("MLFLOW_PORT") or DEFAULT_PORT
    port = free_port(wanted)
    if port != int(wanted):
        print(f"port {wanted} is taken: this is port {port}", flush=True)
    os.environ["MLFLOW_PORT"] = str(port)  # for the addresses that the bridge prints
    # A failed publish has printed its reason; serve the existing runs anyway.
    subprocess.run([sys.executable, "-E", ROOT / "src" / "bridge"])
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # two processes, not fifteen
    os.environ["PYTHONWARNINGS"] = "ignore:starlette.middleware.wsgi is deprecated"
    command = ["mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    if store.file and store.file.parent.is_dir():
        os.chdir(store.file.parent)  # the address of a database may be relative to it
    stores = ["--backend-store-uri", store.uri, "--registry-store-uri", store.uri]
    os.execvp(command[0], [*command, *stores])


if __name__ == "__main__":
    with exit_on_user_error():
        main()
