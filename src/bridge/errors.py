"""End a program with one message, and no traceback, where its user can put something right."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Exit codes of a program that a signal ended, as a shell shows them: 128 and the signal's number.
INTERRUPTED = 130  # SIGINT, Ctrl-C
CLOSED_PIPE = 141  # SIGPIPE: the reader of the output has gone


class UserError(Exception):
    """A mistake that the user can put right: says what is wrong, where, and what to do."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """End the program with exit code 1 and one message for a mistake that is not the program's.

    Where the reader of its output has gone, as in `program | head -1`, it ends without a word.
    """
    try:
        yield
        sys.stdout.flush()  # a full disk is noticed here, and not when Python has left
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        _discard_output()
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        if error.errno is None and error.filename is None:
            raise  # a library's own error: not of the system, and not the user's
        _discard_output()
        sys.exit(f"error: {_describe(error)}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _describe(error: OSError) -> str:
    """Return what the system says, with the file that it is about, if one is known."""
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _discard_output() -> None:
    """Drop what cannot be written, or Python tries again at its end and complains."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError):  # there is no file behind it where output is captured
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
