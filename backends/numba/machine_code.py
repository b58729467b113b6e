"""Where the machine code of compiled loops is stored on disk, and that one process at a time writes it.

It is stored beside the source, or else in the user's cache, or else in a folder for temporary files: the first that
can be written. For a user without a home, it is the last of these.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba

try:
    import fcntl
except ImportError:  # Windows, where processes that compile at the same time do so without a lock
    fcntl = None  # type: ignore[assignment]


def stored(function: Callable[..., Any], **options: Any) -> Any:
    """A function that Numba compiles with ``options`` at its first call with new types, and stores on disk.

    Numba's cache mixes up the files of two processes that write the machine code of one function at the same time.
    So one process compiles, and the others wait and then read its file.
    """
    compiled: Any = None
    if _has_cache_folder():
        with suppress(RuntimeError):  # neither the folder of the source nor the user's cache can be written
            compiled = numba.njit(function, cache=True, **options)
    if compiled is None:
        if not use_temporary_cache():
            return numba.njit(function, **options)  # compiled anew by each process
        compiled = numba.njit(function, cache=True, **options)
    compile_or_read = compiled.compile

    def compile_alone(signature: Any) -> Any:
        with _locked(Path(compiled.stats.cache_path) / f"{function.__module__}.{function.__qualname__}.lock"):
            return compile_or_read(signature)

    compiled.compile = compile_alone
    return compiled


def is_first_use() -> bool:
    """Whether no compiled loop is stored yet; the first steps of a training then take longer."""
    temporary = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    files = Path(temporary).rglob("*.nbi") if temporary else Path(__file__).parent.glob("__pycache__/*.nbi")
    return not any(files)


def _has_cache_folder() -> bool:
    """Whether a cache folder is set or there is a home; otherwise Numba would use a folder called ``~`` here."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~")
    return bool(numba.config.CACHE_DIR) or os.path.isabs(home)  # type: ignore[attr-defined]


def use_temporary_cache() -> bool:
    """Store machine code in a folder for temporary files, where that can be written.

    The folder belongs to this user alone: what another could write there would be run.
    """
    owner = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    try:
        folder = Path(tempfile.gettempdir()) / f"segattn-numba-{owner}"
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
