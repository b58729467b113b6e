"""Compiled loops, their threads, and the memory that they work in.

A kernel computes one block, and threads take the blocks (:mod:`backends.numba.pool`). Blocks depend on the shapes
alone, and sums over them are taken in their order, so a result does not depend on the number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.extending import register_jitable

import backends.numba.blas  # noqa: F401  loads the BLAS that is limited below
from backends.numba import pool
from backends.numba.loop import over_blocks
from backends.numba.machine_code import stored
from backends.numpy.threads import blas_libraries, thread_count

Function = TypeVar("Function", bound=Callable[..., Any])

#: Sums may be reordered and fused with products, as in BLAS; infinities and NaN are respected.
OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
#: For functions that only compiled functions call.
_INNER: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: Bytes of the largest workspace that is reused by the next call.
LARGEST_REUSED = 1 << 28
#: Bytes of a line of the caches.
_LINE = 64

_buffers = threading.local()


def _blas_of_kernels() -> list[Any]:
    """The BLAS that kernels call. SciPy's own stays on one thread, as limiting it takes as long as a small call."""
    libraries = blas_libraries().lib_controllers
    own = [each for each in libraries if any(x.startswith("scipy") for x in Path(each.filepath).parts[-3:-1])]
    for each in own:
        each.set_num_threads(1)
    return own or libraries


_blas = _blas_of_kernels()
#: Whether the loops run on our threads, or on one of Numba's layers.
_own_threads = pool.install()


def inner(function: Function) -> Function:
    """Compile a function that kernels call."""
    return register_jitable(**_INNER)(function)


def inlined(function: Function) -> Function:
    """Compile a small function of numbers as a part of its callers."""
    return cast(Function, numba.njit(function, inline="always"))


def kernel(function: Function) -> Callable[..., None]:
    """Compile a function of the number of a block and of arrays and numbers, which returns nothing.

    Callers pass the number of all blocks instead. These are computed on ``thread_count()`` threads, with SciPy's
    BLAS on one in each. Arrays that are not in C order and writable are copied, so that the function is compiled
    once for each dtype.
    """
    compiled = stored(over_blocks(function, numba.njit(function, **_INNER)), no_cfunc_wrapper=True)

    @wraps(function)
    def call(blocks: int, *arguments: Any) -> None:
        arrays = [_in_order(x) if isinstance(x, np.ndarray) else x for x in arguments]
        if all(library.get_num_threads() == 1 for library in _blas):
            run(compiled, blocks, arrays)
        else:
            with blas_libraries().limit(limits=1):
                run(compiled, blocks, arrays)

    return call


def run(compiled: Any, blocks: int, arguments: Sequence[Any]) -> None:
    """Run a compiled loop on threads."""
    threads = _threads()
    if _own_threads:
        pool.start(threads - 1)
    else:
        numba.set_num_threads(threads)
    compiled(blocks, min(blocks, 1 if threads == 1 else pool.PARTS * threads), threads, *arguments)


def _in_order(x: np.ndarray) -> np.ndarray:
    """The array itself if it is in C order and writable, which most are; else a copy."""
    flags = x.flags
    return x if flags.c_contiguous and flags.writeable else np.require(x, requirements=["C", "W"])


def aligned(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(size,)`` that begins with a line of the caches: a vector in two lines is read twice."""
    item = np.dtype(dtype).itemsize
    memory = np.empty(size + _LINE // item, dtype)
    first = -memory.__array_interface__["data"][0] % _LINE // item
    return memory[first : first + size]


def scratch(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(threads, size)``, or wider, to work in, reused by the next call, since allocating it takes time."""
    memory = _buffers.__dict__.get(f"threads {np.dtype(dtype)}")
    if memory is None or memory.shape[1] < size or len(memory) < _threads():
        width = -(-size // _LINE) * _LINE
        memory = aligned(_threads() * width, dtype).reshape(_threads(), width)
        _buffers.__dict__[f"threads {np.dtype(dtype)}"] = memory
    return memory


def workspace(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(size,)`` that all threads share, reused by the next call up to :data:`LARGEST_REUSED`."""
    if size * np.dtype(dtype).itemsize > LARGEST_REUSED:
        return aligned(size, dtype)
    key = f"shared {np.dtype(dtype)}"
    if key not in _buffers.__dict__ or len(_buffers.__dict__[key]) < size:
        _buffers.__dict__[key] = None  # frees the old one before the new one is allocated
        _buffers.__dict__[key] = aligned(size, dtype)
    return _buffers.__dict__[key][:size]


def release() -> None:
    """Free the memory of :func:`scratch` and :func:`workspace` in this thread."""
    _buffers.__dict__.clear()


def _threads() -> int:
    """The number of threads of an op, at most Numba's, which is that of the cores."""
    return min(thread_count(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
