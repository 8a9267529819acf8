"""Settings of Python and NumPy that a stage works with: they change its time, and nothing else."""

import atexit
import gc

import numpy as np


def set_up_runtime() -> None:
    """Set up this process for a stage; to be called by its `main`, and by nothing that is imported.

    Measured with the default parameters, of some 6 s that all stages take one after another:
    """
    avoid_copies_of_short_rows()
    # glibc hands the pages of a freed array back to the system and takes new ones for the next,
    # until it has seen a large array come and go: 2.1 of 6.3 s of a training by NumPy.
    np.empty(30_000_000 // 8)
    # At its end Python looks for garbage in all that was imported: 0.1 s of a stage with Numba or
    # Matplotlib, 0.4 s of a cold `dvc repro`.
    atexit.register(gc.freeze)


def avoid_copies_of_short_rows() -> None:
    """Have NumPy not copy, in this thread, a factor that is broadcast along short rows.

    It copies where the rows are shorter than its buffer, which takes longer than their product:
    1.5 of 5.7 s of a training by NumPy.
    """
    np.setbufsize(512)  # numbers, not 8192
