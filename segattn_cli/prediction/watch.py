"""A folder that is watched: images as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from segattn_cli.data.images import SUFFIXES
from segattn_cli.data.listing import LeftOut, walk_images
from segattn_cli.errors import DataError, UsageError
from segattn_cli.prediction.input_files import InputFile
from segattn_cli.prediction.jobs import Job
from segattn_cli.prediction.output_files import FileNaming

#: Seconds between two listings. A file that has not changed from one to the next is taken to be whole.
INTERVAL = 0.5
#: The pause before the next listing, as a multiple of the time that the last one took: large folders on slow disks
#: do not keep a core busy.
REST = 4

#: The state of a file: its size and the time of its last change.
Stamp = tuple[int, int]


def require_watchable(folder: Path, out: Path) -> None:
    """Raise an error where ``folder`` cannot be watched while results go to ``out``."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder} to watch.")
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(out)):
        raise UsageError(
            f"{folder} is watched and lies in {out}: images might be replaced; choose another --out."
        )


def watched_jobs(
    folder: Path, out: Path, places: Mapping[str, FileNaming], should_stop: Callable[[], bool], *, resume: bool,
    leave_out: Callable[[LeftOut], None] = lambda each: None,
) -> Iterator[Job]:
    """A job for every image that comes; with ``resume``, one whose outputs exist at the start is done.

    ``leave_out`` is called once for each file and folder that is no image.
    """
    owners: dict[Path, Path] = {}  # the image of each output
    seen: set[Path] = set()
    for path in watch(folder, out, should_stop, leave_out=leave_out):
        inside = path.relative_to(folder)
        for short in (False,) if has_twin(path) else (True, False):
            name = (inside.with_suffix("") if short else inside).as_posix()
            paths = {kind: out / place.file_name(name, str(path)) for kind, place in places.items()}
            if all(owners.get(each, path) == path for each in paths.values()):
                break
        owners.update(dict.fromkeys(paths.values(), path))
        done = resume and path not in seen and all(each.exists() for each in paths.values())
        seen.add(path)
        yield Job(InputFile(str(path)), name, paths, done)


def watch(
    folder: Path, out: Path, should_stop: Callable[[], bool], *, interval: float = INTERVAL,
    leave_out: Callable[[LeftOut], None] = lambda each: None,
) -> Iterator[Path]:
    """The images in and below ``folder``, those there and those to come, until ``should_stop()``.

    An image is given once it has stood still for one interval, so that none is read half; one that changes later
    is given again. What lies in ``out`` is passed over. What goes away and comes back as
    it was is nothing new: a folder on a network is not segmented again for that.
    """
    given: dict[Path, Stamp] = {}
    before: dict[Path, Stamp] = {}
    left_before: set[LeftOut] = set()
    left_out: set[LeftOut] = set()
    resolved = os.path.realpath(out)
    while not should_stop():
        start = time.monotonic()
        entries: list[Path | LeftOut] = []
        with suppress(DataError):  # the folder is away for a while
            entries += walk_images(folder, lambda path: path.is_dir() and os.path.realpath(path) == resolved)
        images = [each for each in entries if isinstance(each, Path)]
        now = {path: stamp for path in images if (stamp := _stamp(path)) is not None}
        left_now = {each for each in entries if isinstance(each, LeftOut)}
        took = time.monotonic() - start
        for each in sorted((left_now & left_before) - left_out):
            leave_out(each)
            left_out.add(each)
        left_before = left_now
        for path, stamp in now.items():
            if before.get(path) == stamp and given.get(path) != stamp:
                given[path] = stamp
                yield path
                if should_stop():
                    return
        before = now
        _sleep(max(interval, REST * took), should_stop)


def has_twin(path: Path) -> bool:
    """Whether beside ``path`` lies another image whose name differs in its ending alone."""
    others = [ending for ending in SUFFIXES if ending != path.suffix.lower()]
    return any(path.with_suffix(ending).exists() for ending in (*others, *map(str.upper, others)))


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
