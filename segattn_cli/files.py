"""Writing files and folders completely or not at all.

What is unfinished is beside its target, under a random name, and its writer holds a lock on it. An unfinished file
or folder without a lock is one that a killed process left; the next process that writes into the folder removes it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from segattn_cli.errors import OutputError
from segattn_cli.mounts import mount_without_shared_locks

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked, and nothing stale removed
    fcntl = None  # type: ignore[assignment]

#: The names of what is unfinished.
UNFINISHED = re.compile(r"\.segattn-[0-9a-f]{16}\.partial")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def is_no_file(path: Path | str) -> bool:
    """Whether ``path`` is there and no plain file: a folder; a pipe, which would be waited for; a device, which may
    have no end.

    >>> is_no_file("/dev/null"), is_no_file("nothing here")
    (True, False)
    """
    return os.path.exists(path) and not os.path.isfile(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to the file ``path``: after a crash the file has either the old or the new content.

    Several processes may write one file at the same time: it has the content of one of them. A pipe or a device is
    written to directly. Raises :class:`OutputError`, and leaves the old content, where the disk is full or the
    folder not writable.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        remove_stale_once(target.parent)
        with _unfinished_file(target.parent) as (file, partial):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # where a file that is open cannot be renamed
                file.close()
            os.replace(partial, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); what was there before is untouched: make "
            "room or choose another --out."
        ) from None


def _flush_folder(folder: Path) -> None:
    """Write ``folder`` to the disk, without which a rename in it may be lost."""
    if os.name == "nt":  # folders cannot be opened on Windows
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def moved_into_place(outputs: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Temporary paths for ``outputs`` in one folder, which replace them when the block ends without an error."""
    folder = next(iter(outputs.values())).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_once(folder)
        with _unfinished_folder(folder) as temporary:
            paths = {kind: temporary / path.name for kind, path in outputs.items()}
            yield paths
            for kind, path in outputs.items():
                if path.is_dir() and paths[kind].is_dir():  # a file never takes a folder's place
                    shutil.rmtree(path)
                paths[kind].replace(path)
    except (OSError, OutputError) as error:
        cause = error.__cause__ or error
        raise OutputError(
            f"{folder} cannot be written to ({getattr(cause, 'strerror', None) or cause}); what was finished is "
            "whole: make room or choose another --out, and go on with --resume."
        ) from error


@contextmanager
def _unfinished_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in ``folder``, open and locked; what has not been renamed at the end is removed."""
    while True:
        path = _unfinished_name(folder)
        file = os.fdopen(os.open(path, _NEW_FILE, 0o666), "wb")
        if _lock(file.fileno()):
            break
        file.close()
    try:
        yield file, path
    finally:
        with suppress(OSError):  # it has been renamed
            os.unlink(path)
        with suppress(OSError):  # what could not be written still cannot
            file.close()


@contextmanager
def _unfinished_folder(folder: Path) -> Iterator[Path]:
    """A new folder in ``folder``, locked; it is removed at the end."""
    descriptor = None
    while True:
        path = _unfinished_name(folder)
        path.mkdir(mode=0o700)
        if os.name == "nt":  # folders cannot be opened on Windows
            break
        with suppress(FileNotFoundError):  # another process took it for stale, and was faster
            descriptor = os.open(path, os.O_RDONLY)
            if _lock(descriptor):
                break
            os.close(descriptor)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _unfinished_name(folder: Path) -> Path:
    return folder / f".segattn-{secrets.token_hex(8)}.partial"


def _lock(descriptor: int) -> bool:
    """Lock a new file or folder, if the file system has locks. False where it was taken for stale before that."""
    if fcntl is None:
        return True
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return os.fstat(descriptor).st_nlink > 0


def remove_stale(folder: Path) -> None:
    """Remove from ``folder`` the unfinished files and folders of processes that have ended.

    None where the lock of a living process on another machine would not be seen.
    """
    if fcntl is None or mount_without_shared_locks(folder) is not None:
        return
    with suppress(OSError):
        for name in os.listdir(folder):
            if UNFINISHED.fullmatch(name):
                _remove_if_stale(os.path.join(folder, name))


#: The same for writers of many files: in each folder once.
remove_stale_once = cache(remove_stale)


def _remove_if_stale(path: str) -> None:
    with suppress(OSError):  # its writer holds the lock, or there are no locks, or somebody else removes it
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return
        access = os.O_RDWR if stat.S_ISREG(mode) else os.O_RDONLY  # to lock a file over NFS takes O_RDWR
        descriptor = os.open(path, access | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISDIR(mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        finally:
            os.close(descriptor)
