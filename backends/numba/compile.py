"""How loops are compiled, on how many threads they run, and where they keep what only lasts for a call.

A kernel's ``prange`` hands blocks to threads. Blocks are cut by the shapes alone, never by the number of threads,
and sums over blocks are taken in the order of the blocks: a result does not depend on how many threads there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

import backends.numba.blas  # noqa: F401  loads the BLAS that is limited below
from backends.numpy.threads import blas_libraries, thread_count

try:
    import fcntl
except ImportError:  # Windows: there, processes that compile the same at the same time do so without a lock
    fcntl = None  # type: ignore[assignment]

Function = TypeVar("Function", bound=Callable[..., Any])

#: Sums may be taken in any order and products be fused with them, as BLAS does; infinities and NaN stay.
FASTMATH = {"reassoc", "contract", "nsz"}

#: Bytes of a workspace that is kept for the next call.
LARGEST_KEPT = 1 << 28

_kept = threading.local()


def inner(function: Function) -> Function:
    """Compile what kernels call."""
    return cast(Function, _compiled(function))


def inlined(function: Function) -> Function:
    """Compile a small function of numbers as a part of whatever calls it."""
    return cast(Function, numba.njit(function, inline="always"))


def kernel(function: Function) -> Function:
    """Compile a function whose ``prange`` runs on ``thread_count()`` threads; BLAS in it runs on one each.

    Arrays are given to it in C order and writable, copied where they are not, so that it is compiled once for each
    dtype. The machine code is kept on disk beside the source, or in the user's cache where that cannot be written.
    """
    compiled = _compiled(function, parallel=True)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        numba.set_num_threads(_threads())
        plain = [np.require(x, requirements=["C", "W"]) if isinstance(x, np.ndarray) else x for x in arguments]
        with blas_libraries().limit(limits=1):
            return compiled(*plain)

    return cast(Function, call)


def scratch(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(threads, size)`` to work in, the same again at the next call: fresh memory costs time to get."""
    known = _kept.__dict__.get(f"threads {np.dtype(dtype)}")
    if known is None or known.shape[1] < size or len(known) < _threads():
        known = _kept.__dict__[f"threads {np.dtype(dtype)}"] = np.empty((_threads(), size), dtype)
    return known


def workspace(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(size,)`` that all threads share; what is larger than :data:`LARGEST_KEPT` is fresh each time."""
    if size * np.dtype(dtype).itemsize > LARGEST_KEPT:
        return np.empty(size, dtype)
    key = f"shared {np.dtype(dtype)}"
    if key not in _kept.__dict__ or len(_kept.__dict__[key]) < size:
        _kept.__dict__[key] = None  # before there are two
        _kept.__dict__[key] = np.empty(size, dtype)
    return _kept.__dict__[key][:size]


def is_first_use() -> bool:
    """Whether no loop has been compiled and kept here yet; the first steps of a training then take a while."""
    return not any(Path(__file__).parent.glob("__pycache__/*.nbi"))


def release() -> None:
    """Give back what :func:`scratch` and :func:`workspace` keep in this thread."""
    _kept.__dict__.clear()


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    """A function that Numba compiles at its first call with new types, and keeps on disk.

    Numba's cache mixes up the files of two processes that write the machine code of one function at the same time.
    So one compiles, and the others wait and then read what it has kept.
    """
    compiled: Any = numba.njit(function, fastmath=FASTMATH, error_model="numpy", cache=True, **options)
    compile_or_read = compiled.compile

    def compile_alone(signature: Any) -> Any:
        with _locked(Path(compiled.stats.cache_path) / f"{function.__module__}.{function.__qualname__}.lock"):
            return compile_or_read(signature)

    compiled.compile = compile_alone
    return compiled


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out, where the file system has locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _threads() -> int:
    """As many as an op may use, but Numba never starts more than there are cores."""
    return min(thread_count(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
