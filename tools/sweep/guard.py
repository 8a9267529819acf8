"""Run a command that ends with the process that started it, however that process died.

    python guard.py COMMAND ...

Standard input is a pipe whose other end the starting process holds: the pipe closes when that
process is gone, and then the command and all its children are killed.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Return the exit code of the command."""
    command = subprocess.Popen(sys.argv[1:], start_new_session=True)

    def kill_when_alone() -> None:
        os.read(sys.stdin.fileno(), 1)
        os.killpg(command.pid, signal.SIGKILL)

    threading.Thread(target=kill_when_alone, daemon=True).start()
    return command.wait()


if __name__ == "__main__":
    sys.exit(main())
