"""Freed memory stays with the process, because new pages cost more than the arithmetic on them.

A network frees and allocates arrays of the same sizes in each step. glibc returns freed memory at the end of its
heap to the operating system, which then has to provide it again and to clear it, page by page. A training step of a
ResNet-18 on 8×192×240 takes a fifth less time if the memory stays. Larger arrays have a mapping of their own, as
before, so that they never leave gaps in the heap.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

#: Bytes of an array that is large, and of unused memory at the end of the heap that is too much to keep.
LARGE, TOO_MUCH = 1 << 25, (1 << 31) - 1

#: glibc's names of these limits: for ``mallopt``, in the environment, and in ``GLIBC_TUNABLES``.
_LIMITS = {
    -3: ("MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold", LARGE),
    -1: ("MALLOC_TRIM_THRESHOLD_", "glibc.malloc.trim_threshold", TOO_MUCH),
}


def return_freed_memory() -> None:
    """Return what is free now to the operating system, after something large that will not come again."""
    with suppress(OSError, TypeError, AttributeError):  # on Windows, and with other libraries
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Set both limits, and say whether that was possible: with glibc, where the user has set neither of them."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if any(variable in os.environ or tunable in tunables for variable, tunable, _ in _LIMITS.values()):
        return False
    try:
        set_limit = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # on Windows, and with other libraries
        return False
    results = [set_limit(number, limit) for number, (_, _, limit) in _LIMITS.items()]
    return all(results)
