"""Set up Python and NumPy for a stage: this changes its running time, and nothing else."""

import atexit
import gc

import numpy as np


def set_up_runtime() -> None:
    """Set up this process for a stage; to be called by its `main`, and by nothing that is imported.

    The timings below were measured with the default parameters; all stages together take about 6 s.
    """
    avoid_copies_of_short_rows()
    # glibc hands the pages of a freed array back to the system and takes new ones for the next,
    # until it has seen a large array come and go: 2.1 of the 6.3 s of a training by NumPy.
    np.empty(30_000_000 // 8)
    # At its end Python looks for garbage in everything that was imported: 0.1 s of a stage with
    # Numba or Matplotlib, 0.4 s of a cold `dvc repro`.
    atexit.register(gc.freeze)


def avoid_copies_of_short_rows() -> None:
    """Keep NumPy, in this thread, from copying a factor that is broadcast along short rows.

    NumPy copies it where the rows are shorter than its buffer, and that takes longer than the
    product: 1.5 of the 5.7 s of a training by NumPy.
    """
    np.setbufsize(512)  # numbers, not 8192
