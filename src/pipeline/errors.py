"""How a stage or a tool ends where its user made a mistake: one message, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from bridge import errors
from bridge.errors import UserError
from pipeline import paths

__all__ = ["UserError", "exit_on_user_error"]


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """End the program with exit code 1 and one message for a mistake that is not the program's.

    As `bridge.errors.exit_on_user_error`, which says it for any project; here it is added which
    command of this project helps.
    """
    with errors.exit_on_user_error():
        try:
            yield
        except FileNotFoundError as error:
            if error.filename is None:
                raise
            missing = paths.shown(error.filename)
            message = f"{missing}: {error.strerror}. Run make, which writes it again."
            raise UserError(message) from None
        except OSError as error:
            if isinstance(error.filename, str):
                error.filename = str(paths.shown(error.filename))
            raise
        except MemoryError:
            raise UserError(f"not enough memory for the sizes in {paths.PARAMS}") from None
