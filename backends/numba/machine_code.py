"""Where the machine code of compiled loops is stored on disk, and that one process at a time writes it.

It is stored beside the source, or else in the user's cache, or else in a folder for temporary files: the first that
can be written. For a user without a home, it is the last of these.
"""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba
from numba.core.caching import IndexDataCacheFile

from backends.numba.library import whole_libraries

try:
    import fcntl
except ImportError:  # Windows, where processes that compile at the same time do so without a lock
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
#: The problems that were reported: each is, once.
_reported: set[str] = set()
#: Where machine code is stored.
_folders: set[str] = set()


def stored(function: Callable[..., Any], **options: Any) -> Any:
    """A function that Numba compiles with ``options`` at its first call with new types, and stores on disk.

    Numba's cache mixes up the files of two processes that write the machine code of one function at the same time.
    So one process compiles, and the others wait and then read its file. Files that are damaged, or that
    cannot be written, are reported once in the log of this module, and the function is compiled without them.
    """
    compiled: Any = _with_cache(function, options) or numba.njit(function, **options)  # or compiled by each process
    folder = compiled.stats.cache_path
    if folder:
        _folders.add(folder)
    compile_or_read = compiled.compile

    def compile_whole(signature: Any) -> Any:
        name = f"{function.__module__}.{function.__qualname__}.lock"
        with _locked(Path(folder) / name) if folder else nullcontext(), whole_libraries():
            return compile_or_read(signature)

    compiled.compile = compile_whole
    return compiled


def _with_cache(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """The function with the first folder for its machine code that can be written, or None if none can."""
    compiled: Any = None
    if _has_cache_folder():
        with suppress(RuntimeError):  # neither the folder of the source nor the user's cache can be written
            compiled = numba.njit(function, cache=True, **options)
    if compiled is None and use_temporary_cache():
        compiled = numba.njit(function, cache=True, **options)
    if compiled is not None:
        _survive_damage(compiled._cache, _stamp(function.__module__))
    return compiled


class _CheckedFiles(IndexDataCacheFile):
    """Numba's files, each with a hash at its end: damaged machine code would be run."""

    def _dump(self, obj: Any) -> bytes:
        content = super()._dump(obj)
        return content + hashlib.sha256(content).digest()

    def _load_index(self) -> Any:
        overloads = super()._load_index()
        if overloads:  # of this version and this source
            with open(self._index_path, "rb") as file:
                pickle.load(file)  # Numba's version
                _require_whole(file.read())
        return overloads

    def _load_data(self, name: str) -> Any:
        _require_whole(Path(self._data_path(name)).read_bytes())
        return super()._load_data(name)


def _require_whole(content: bytes) -> None:
    """Raise :class:`ValueError` where ``content`` is not what was written; pickle ignores what follows its end."""
    if hashlib.sha256(content[:-32]).digest() != content[-32:]:
        raise ValueError("the hash of a file does not fit")


@cache
def _stamp(module: str) -> str:
    """A hash of what the machine code of a module's functions depends on: versions, and sources that it imports.

    Numba alone would look at the date of the module's own source, and run old code where a function that it calls
    was changed.
    """
    content = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for source in sorted(_sources(module, set())):
        content.update(source.read_bytes())
    return content.hexdigest()


def _sources(name: str, seen: set[str]) -> Iterator[Path]:
    """The files of a module and, recursively, of those of its package from which it has something."""
    seen.add(name)
    module = sys.modules[name]
    if module.__file__:
        yield Path(module.__file__)
    for value in list(vars(module).values()):
        origin = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if origin in sys.modules and origin not in seen and origin.startswith("backends.numba."):
            yield from _sources(origin, seen)


def _survive_damage(cache: Any, stamp: str) -> None:
    """Compile without the files of ``cache`` where they are damaged, and replace them if there is room for it."""
    load, save = cache.load_overload, cache.save_overload
    cache._cache_file = _CheckedFiles(
        cache_path=cache._cache_path, filename_base=cache._impl.filename_base, source_stamp=stamp
    )
    # Numba would add the code of the function and what it refers to, which the stamp covers.
    cache._index_key = lambda signature, codegen: (signature, codegen.magic_tuple())

    def load_or_compile(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception as error:  # unpickling what is damaged raises anything
            _report("cannot be read", error)
            with suppress(OSError):
                cache.flush()
            return None

    def save_if_possible(*arguments: Any) -> None:
        try:
            save(*arguments)
        except OSError as error:
            _report("cannot be stored", error)

    cache.load_overload, cache.save_overload = load_or_compile, save_if_possible


def _report(problem: str, error: Exception) -> None:
    """Log ``problem``, the first time."""
    if problem in _reported:
        return
    _reported.add(problem)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    log.warning("Machine code %s (%s): it is compiled anew, which takes minutes.", problem, reason)


def is_first_use() -> bool:
    """Whether no machine code is stored yet, but for that of the threads: the first steps then take longer."""
    files = (file for folder in _folders for file in Path(folder).glob("*.nbi"))
    return all(file.name.startswith("pool.") for file in files)


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
    """Exclude other processes, if the file system has locks and the file can be written."""
    with ExitStack() as opened:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = opened.enter_context(path.open("w"))
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
