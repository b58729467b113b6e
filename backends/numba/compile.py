"""The compilation of loops, their threads, and the memory that they work in.

A kernel's ``prange`` gives blocks to threads. The blocks depend on the shapes alone and sums over blocks are taken
in the order of the blocks, so a result does not depend on the number of threads.
"""

from __future__ import annotations

import getpass
import os
import tempfile
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
except ImportError:  # Windows, where processes that compile at the same time do so without a lock
    fcntl = None  # type: ignore[assignment]

Function = TypeVar("Function", bound=Callable[..., Any])

#: Sums may be reordered and fused with products, as in BLAS; infinities and NaN are respected.
FASTMATH = {"reassoc", "contract", "nsz"}

#: Bytes of the largest workspace that is reused by the next call.
LARGEST_REUSED = 1 << 28

_buffers = threading.local()


def inner(function: Function) -> Function:
    """Compile a function that kernels call."""
    return cast(Function, _compiled(function))


def inlined(function: Function) -> Function:
    """Compile a small function of numbers as a part of its callers."""
    return cast(Function, numba.njit(function, inline="always"))


def kernel(function: Function) -> Function:
    """Compile a function whose ``prange`` runs on ``thread_count()`` threads, with BLAS on one thread in each.

    Arrays that are not in C order and writable are copied, so that the function is compiled once for each dtype.
    The machine code is stored on disk beside the source, or else in the user's cache, or else in a folder for
    temporary files: the first that can be written.
    """
    compiled = _compiled(function, parallel=True)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        numba.set_num_threads(_threads())
        arrays = [np.require(x, requirements=["C", "W"]) if isinstance(x, np.ndarray) else x for x in arguments]
        with blas_libraries().limit(limits=1):
            return compiled(*arrays)

    return cast(Function, call)


def scratch(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(threads, size)`` to work in, reused by the next call, since allocating it takes time."""
    memory = _buffers.__dict__.get(f"threads {np.dtype(dtype)}")
    if memory is None or memory.shape[1] < size or len(memory) < _threads():
        memory = _buffers.__dict__[f"threads {np.dtype(dtype)}"] = np.empty((_threads(), size), dtype)
    return memory


def workspace(size: int, dtype: Any) -> np.ndarray:
    """Memory ``(size,)`` that all threads share, reused by the next call up to :data:`LARGEST_REUSED`."""
    if size * np.dtype(dtype).itemsize > LARGEST_REUSED:
        return np.empty(size, dtype)
    key = f"shared {np.dtype(dtype)}"
    if key not in _buffers.__dict__ or len(_buffers.__dict__[key]) < size:
        _buffers.__dict__[key] = None  # frees the old one before the new one is allocated
        _buffers.__dict__[key] = np.empty(size, dtype)
    return _buffers.__dict__[key][:size]


def is_first_use() -> bool:
    """Whether no compiled loop is stored yet; the first steps of a training then take longer."""
    temporary = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    stored = Path(temporary).rglob("*.nbi") if temporary else Path(__file__).parent.glob("__pycache__/*.nbi")
    return not any(stored)


def release() -> None:
    """Free the memory of :func:`scratch` and :func:`workspace` in this thread."""
    _buffers.__dict__.clear()


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    """A function that Numba compiles at its first call with new types, and stores on disk.

    Numba's cache mixes up the files of two processes that write the machine code of one function at the same time.
    So one process compiles, and the others wait and then read its file.
    """
    options |= {"fastmath": FASTMATH, "error_model": "numpy"}
    try:
        compiled: Any = numba.njit(function, cache=True, **options)
    except RuntimeError:  # neither the folder of the source nor the user's cache can be written
        if not use_temporary_cache():
            return numba.njit(function, **options)  # compiled anew by each process
        compiled = numba.njit(function, cache=True, **options)
    compile_or_read = compiled.compile

    def compile_alone(signature: Any) -> Any:
        with _locked(Path(compiled.stats.cache_path) / f"{function.__module__}.{function.__qualname__}.lock"):
            return compile_or_read(signature)

    compiled.compile = compile_alone
    return compiled


def use_temporary_cache() -> bool:
    """Store machine code in a folder for temporary files, where that can be written.

    The folder belongs to this user alone: what another could write there would be run.
    """
    owner = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"segattn-numba-{owner}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o077):
            folder = Path(tempfile.mkdtemp(prefix="segattn-numba-"))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return False
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Exclude other processes, if the file system has locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _threads() -> int:
    """The number of threads of an op, at most Numba's, which is that of the cores."""
    return min(thread_count(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
