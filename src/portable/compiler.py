"""Numba, without a person's settings of it, and with a place of its own for what it compiled.

ImportError where it is not there, or is not to compile: then NumPy does the work.
"""

import hashlib
import os
from pathlib import Path

# The settings are for a person's own programs: here they would print, trace, or end in a crash.
CONFIG = Path(".numba_config.yaml")  # Numba reads it wherever it is started, whenever it compiles
if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" or CONFIG.exists():
    raise ImportError("Numba is not to compile, or has settings that cannot be kept out")
for name in [
    name for name in os.environ if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"
]:
    del os.environ[name]

import llvmlite.binding  # noqa: E402
import numba  # noqa: E402
import numpy as np  # noqa: E402
from numba.core import caching  # noqa: E402


class ByContent(
    caching.UserProvidedCacheLocator if numba.config.CACHE_DIR else caching.UserWideCacheLocator
):
    """Where Numba keeps what it compiled: for the user, by content, so that all checkouts of an experiment share it."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file):
        sources = ("arithmetic.py", "compiled.py", "compiler.py")
        content = [Path(py_file).with_name(name).read_bytes() for name in sources]
        content.append(
            llvmlite.binding.get_host_cpu_name().encode()
        )  # a home may be shared by different machines
        return "spirals-" + hashlib.sha256(b"".join(content)).hexdigest()[:16]


numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.ByContent"
compiled = numba.njit(error_model="numpy", cache=True)


def zeros(*shape):
    """An array that begins where a line of the cache does: a vector that lies in two is slow."""
    size = np.empty(shape).size
    memory = np.zeros(size + 8)
    begin = -memory.ctypes.data // 8 % 8
    return memory[begin : begin + size].reshape(shape)
