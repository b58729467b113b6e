"""A folder that is watched: pictures as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from segattn_cli.segmenting import is_picture

#: Seconds between two looks. A file that has not changed from one to the next is taken to be whole.
INTERVAL = 0.5

#: What tells one state of a file from another: its size and when it was changed.
Stamp = tuple[int, int]


def watch(
    folder: Path, out: Path, should_stop: Callable[[], bool], *, interval: float = INTERVAL
) -> Iterator[Path]:
    """The pictures in and below ``folder``, those there and those to come, until ``should_stop()``.

    A picture is given once it has stood still for one interval, so that none is read half; one that changes later
    is given again. Hidden files and what lies in ``out`` are left out.
    """
    given: dict[Path, Stamp] = {}
    before: dict[Path, Stamp] = {}
    resolved = out.resolve()
    while not should_stop():
        now = {
            path: stamp
            for path in sorted(folder.rglob("*"))
            if is_picture(path, folder, resolved) and (stamp := _stamp(path)) is not None
        }
        for path, stamp in now.items():
            if before.get(path) == stamp and given.get(path) != stamp:
                given[path] = stamp
                yield path
                if should_stop():
                    return
        before = now
        given = {path: stamp for path, stamp in given.items() if path in now}
        _sleep(interval, should_stop)


def _stamp(path: Path) -> Stamp | None:
    """None for a file that is empty, or that went away since it was listed."""
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
