"""The answers of a server to ``data download``: status, headers, a listing, and a file."""

from __future__ import annotations

import io
import json
import random
import shutil
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

from fuzz.judge import FOLDER, attempt
from fuzz.mutations import Mutate, mutated_json
from segattn_cli.data.download import repositories
from segattn_cli.data.download.repositories import REPOSITORIES, Servers, download
from segattn_cli.data.download.web import LONGEST_WAIT

#: The target itself asks for an address; its connection leads nowhere.
ALLOWED = frozenset({"urllib.Request"})
OUT = FOLDER / "out"
SERVERS = Servers("http://listings", "http://files", pause=0)
_NEXT = b"\n--- next\n"
BLOB = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"  # of "hello"
LISTING = {
    "tree": [{"path": "CamVid/train.txt", "mode": "100644", "sha": BLOB, "size": 5, "type": "blob"}],
    "truncated": False,
}  # fmt: skip


class _Connection:
    """A connection on which the server has answered already."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self.answer)

    def sendall(self, data: bytes) -> None: ...
    def settimeout(self, seconds: float) -> None: ...
    def setsockopt(self, *_: object) -> None: ...
    def shutdown(self, how: int) -> None: ...
    def close(self) -> None: ...


class _Impatient(threading.Event):
    """An event for which nobody waits: a retry comes at once."""

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert 0 <= timeout <= LONGEST_WAIT
        return self.is_set()


mock.patch.object(repositories, "threading", SimpleNamespace(Event=_Impatient, Thread=threading.Thread)).start()


def seeds() -> Iterator[bytes]:
    """Answers that a server may give, of which each is given in turn."""
    listing = _answer("200 OK", json.dumps(LISTING))
    content = _answer("200 OK", "hello")
    yield listing + _NEXT + content
    yield listing + _NEXT + _answer("206 Partial Content", "llo", "Content-Range: bytes 2-4/5") + _NEXT + content
    yield _answer("403 rate limit exceeded", "", "Retry-After: 5", "X-RateLimit-Reset: 4000000000")
    yield _answer("429 Too Many Requests", "", "Retry-After: 3600")
    yield _answer("503 busy", "", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT") + _NEXT + listing + _NEXT + content
    yield _answer("302 Found", "", "Location: http://[::bad/") + _NEXT + listing
    yield _answer("301 Moved", "", "Location: /elsewhere") + _NEXT + listing + _NEXT + content
    yield _answer("404 Not Found", "none")
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    yield b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(LISTING).encode()


def _answer(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


def one_input(data: bytes) -> None:
    answers = data.split(_NEXT)[:30]
    given = iter(answers)
    last = answers[-1]

    def connect(*_: object, **__: object) -> _Connection:
        return _Connection(next(given, last))

    shutil.rmtree(OUT, ignore_errors=True)
    real, socket.create_connection = socket.create_connection, connect  # type: ignore[assignment]
    try:
        attempt(lambda: list(download(REPOSITORIES["camvid"], OUT, SERVERS)))
    finally:
        socket.create_connection = real


def mutated(data: bytes, mutate: Mutate, size: int, rng: random.Random) -> bytes:
    """One of the answers with another body that is JSON, and the right length; or with other bytes."""
    answers = data.split(_NEXT)
    place = rng.randrange(len(answers))
    _, separator, body = answers[place].partition(b"\r\n\r\n")
    if separator and body[:1] in (b"{", b"[") and rng.random() < 0.6:
        body = mutated_json(body, mutate, size, rng)
        answers[place] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    elif rng.random() < 0.2:
        answers.insert(place, rng.choice(answers))
    else:
        answers[place] = mutate(answers[place], size)
    return _NEXT.join(answers)
