"""Publishes what is there, and opens the local store in the MLflow UI: on this machine only, at a port that is free."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from bridge.errors import UserError, exit_on_user_error  # noqa: E402
from bridge.store import configured_store  # noqa: E402

HOST = "127.0.0.1"  # there is no password: whoever reaches the port can read files


def free_port(text):
    """The first port from the wanted one on that nothing listens at; raises UserError if `text` is no port."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UserError(f"MLFLOW_PORT is {text}, but must be a whole number from 1 to 65535")
    for port in range(int(text), 65536):
        with socket.socket() as tried:
            if tried.connect_ex((HOST, port)) != 0:
                return port
    raise UserError(f"all ports from {text} on are taken: set MLFLOW_PORT to a lower one")


def main():
    store = configured_store(ROOT, "")
    if store.is_remote:
        raise UserError(
            f"the runs are at {store.redacted_uri} already: MLFLOW_TRACKING_URI says so"
        )
    wanted = os.environ.get("MLFLOW_PORT") or "5000"
    port = free_port(wanted)
    if port != int(wanted):
        print(f"port {wanted} is taken: this is port {port}", flush=True)
    os.environ["MLFLOW_PORT"] = str(port)  # for the addresses that the bridge prints
    subprocess.run(
        [sys.executable, "-E", ROOT / "src" / "bridge"]
    )  # if it cannot publish, it has said why
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # two processes, not fifteen
    os.environ["PYTHONWARNINGS"] = "ignore:starlette.middleware.wsgi is deprecated"
    command = ["mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", store.uri, "--registry-store-uri", store.uri]
    os.execvp(command[0], [*command, *stores])


if __name__ == "__main__":
    with exit_on_user_error():
        main()
