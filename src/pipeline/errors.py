"""Mistakes that the user can put right, told in plain words."""

import gc
import sys
from contextlib import contextmanager

from pipeline import paths


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
        where = f"{paths.shown(error.filename)}: " if error.filename else ""
        advice = ". Run make, which makes it anew." if isinstance(error, FileNotFoundError) else ""
        sys.exit(f"error: {where}{error.strerror or error}{advice}")
    except MemoryError:
        sys.exit(f"error: not enough memory for the sizes in {paths.PARAMS}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # or at its end Python looks for garbage in all that was imported: a tenth of a second
