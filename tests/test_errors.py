"""How a program ends where its user made a mistake, or where nobody reads what it prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.errors import UserError, exit_on_user_error

SRC = Path(__file__).resolve().parents[1] / "src"
PRINTING = """
from bridge.errors import exit_on_user_error
with exit_on_user_error():
    print("first", flush=True)
    for _ in range(20_000):
        print("another line")
"""


def ended(error):
    """Return what the program's last words are, or its exit code, where this is raised in it."""
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        raise error
    return end.value.code


def test_a_mistake_of_the_users_is_one_message():
    assert ended(UserError("params.yaml: rate is missing")) == "error: params.yaml: rate is missing"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.csv"), "a.csv: No such file or"),
        (OSError(28, "No space left on device", "a.csv"), "a.csv: No space left on device"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_file_if_there_is_one(error, message):
    assert ended(error).startswith(f"error: {message}")


def test_ctrl_c_ends_as_a_shell_expects():
    assert ended(KeyboardInterrupt()) == 130


def test_a_librarys_own_error_keeps_its_traceback():
    with pytest.raises(OSError, match="cannot identify"), exit_on_user_error():
        raise OSError("cannot identify image file")


def run_printing(output):
    return subprocess.Popen(
        [sys.executable, "-c", PRINTING],
        stdout=output,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(SRC)},
        text=True,
    )


def test_a_reader_that_goes_away_ends_the_program_without_a_word():
    process = run_printing(subprocess.PIPE)
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141  # as a program that SIGPIPE ends, in a shell


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_behind_the_output_is_one_message():
    with open("/dev/full", "w") as full:
        process = run_printing(full)
        assert process.stderr.read() == "error: No space left on device\n"
    process.stderr.close()
    assert process.wait() == 1
