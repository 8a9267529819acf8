"""Write a file whole or not at all, whoever is killed while writing it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block ends well.

    It has the suffix of `path`, by which libraries choose a format. What a killed process left
    beside `path` is removed.

    Raises:
        OSError: it cannot be written, with `path` as the file name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a full disk comes without a name, the rest with the temporary
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that have ended."""
    start = f".{path.stem}."
    for leftover in path.parent.iterdir():
        if not leftover.name.startswith(start) or leftover.suffix != path.suffix:
            continue
        process_id = leftover.name.removeprefix(start).removesuffix(path.suffix)
        if not process_id.isdecimal():
            continue
        try:
            os.kill(int(process_id), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)
        except (PermissionError, OverflowError):  # it runs, as another user; it is no process
            continue
