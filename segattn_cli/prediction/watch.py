"""A folder that is watched: pictures as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from segattn_cli.data.images import SUFFIXES

#: Seconds between two looks. A file that has not changed from one to the next is taken to be whole.
INTERVAL = 0.5
#: How many times as long as a look took is waited before the next: large folders on slow disks are no busy work.
REST = 4

#: What tells one state of a file from another: its size and when it was changed.
Stamp = tuple[int, int]


def watch(
    folder: Path, out: Path, should_stop: Callable[[], bool], *, interval: float = INTERVAL
) -> Iterator[Path]:
    """The pictures in and below ``folder``, those there and those to come, until ``should_stop()``.

    A picture is given once it has stood still for one interval, so that none is read half; one that changes later
    is given again. Hidden files and folders and what lies in ``out`` are left out. What goes away and comes back as
    it was is nothing new: a folder on a network is not segmented again for that.
    """
    given: dict[Path, Stamp] = {}
    before: dict[Path, Stamp] = {}
    resolved = out.resolve()
    while not should_stop():
        start = time.monotonic()
        now = {path: stamp for path in _pictures(folder, resolved) if (stamp := _stamp(path)) is not None}
        took = time.monotonic() - start
        for path, stamp in now.items():
            if before.get(path) == stamp and given.get(path) != stamp:
                given[path] = stamp
                yield path
                if should_stop():
                    return
        before = now
        _sleep(max(interval, REST * took), should_stop)


def has_twin(path: Path) -> bool:
    """Whether beside ``path`` lies another picture whose name differs in its ending alone."""
    others = [ending for ending in SUFFIXES if ending != path.suffix.lower()]
    return any(path.with_suffix(ending).exists() for ending in (*others, *map(str.upper, others)))


def _pictures(folder: Path, out: Path) -> Iterator[Path]:
    """What looks like a picture in and below ``folder``, in order."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(where, name).resolve() != out
        )
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(where, name)


def _stamp(path: Path) -> Stamp | None:
    """None for a file that is empty or no file, or that went away since it was listed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None


def _sleep(seconds: float, should_stop: Callable[[], bool]) -> None:
    """Sleep, but not longer than a moment after somebody asked to stop."""
    end = time.monotonic() + seconds
    while not should_stop() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
