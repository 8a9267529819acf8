"""Set up Numba, with none of the user's settings and a cache folder of its own; align arrays."""

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from portable.arithmetic import FloatArray

USER_CONFIG = Path(".numba_config.yaml")  # read in the current folder, whenever Numba compiles
SOURCES = ("arithmetic.py", "compiled.py", "compiler.py")  # what is compiled, and how


def set_up_numba() -> None:
    """Import Numba, and keep the user's Numba settings out of this process.

    The settings are meant for the user's own programs: here they would print, trace, or crash.
    Call this before `portable.compiled` is imported.

    Raises:
        ImportError: Numba is not installed, is disabled, or has settings that cannot be kept out.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        raise ImportError("NUMBA_DISABLE_JIT is set")
    if USER_CONFIG.exists():
        raise ImportError(f"the settings in {USER_CONFIG} cannot be kept out")
    for name in list(os.environ):
        if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR":
            del os.environ[name]

    import llvmlite.binding
    import numba.core.config
    from numba.core import caching

    settings: Any = numba.core.config
    cpu = llvmlite.binding.get_host_cpu_name()
    if settings.CACHE_DIR:
        locator: Any = caching.UserProvidedCacheLocator
    else:
        locator = caching.UserWideCacheLocator

    class ContentLocator(locator):  # type: ignore[misc]
        """Puts compiled code into a folder named after its source: all checkouts share it."""

        @classmethod
        def get_suitable_cache_subpath(cls, py_file: str) -> str:
            return cache_folder(Path(py_file).parent, cpu)

    setattr(caching, "ContentLocator", ContentLocator)  # noqa: B010  # Numba takes its locators by the name of a module
    settings.CACHE_LOCATOR_CLASSES = "numba.core.caching.ContentLocator"


def cache_folder(sources: Path, cpu: str) -> str:
    """Return a name for the code compiled from the sources of a folder.

    Args:
        sources: the folder of this file, in any checkout.
        cpu: LLVM's name of the processor; different machines may share a home.
    """
    digest = hashlib.sha256(cpu.encode())
    for name in SOURCES:
        digest.update((sources / name).read_bytes())
    return f"spirals-{digest.hexdigest()[:16]}"


def aligned_zeros(*shape: int) -> FloatArray:
    """Return zeros that begin at a line of the processor's cache: a vector in two lines is slow."""
    size = math.prod(shape)
    memory = np.zeros(size + 8)
    begin = -memory.ctypes.data // 8 % 8
    return memory[begin : begin + size].reshape(shape)
