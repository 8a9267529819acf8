"""Mistakes that the user can put right, told in plain words."""

import sys
from contextlib import contextmanager


class UserError(Exception):
    """Says what is wrong, where, and what to do; shown without a traceback."""


@contextmanager
def exit_on_user_error():
    """Ends the program with exit code 1 and one message for a mistake that is not the program's."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)
