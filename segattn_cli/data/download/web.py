"""Asking a server for bytes: what may go well next time is asked for again, anything else is one clear sentence."""

from __future__ import annotations

import http
import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from segattn_cli.errors import DataError

ATTEMPTS = 5
TIMEOUT = 30.0  # seconds without a byte
PATIENCE = 60  # seconds that a server may have us wait; where it wants more, the user decides
GO_ON = "the same command goes on where this one stopped"

T = TypeVar("T")


class PassingError(Exception):
    """What went wrong on the way and may go well next time, if need be after so many seconds."""

    def __init__(self, reason: object, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Stopped(Exception):
    """Nobody waits for the result any more."""


def persist(attempt: Callable[[], T], url: str, pause: float, stop: threading.Event) -> T:
    """What ``attempt`` returns; where it fails in passing, it is made again, after twice the pause each time.

    Raises :class:`DataError` after the last attempt, and :class:`Stopped` once ``stop`` is set.
    """
    number = 1
    while True:
        try:
            return attempt()
        except PassingError as error:
            if number == ATTEMPTS:
                raise DataError(f"{url} cannot be had ({error}): later, {GO_ON}.") from None
            if stop.wait(max(error.wait, pause * 2 ** (number - 1))):
                raise Stopped from None
        number += 1


def request(url: str, start: int = 0) -> http.client.HTTPResponse:
    """The answer to a request for ``url`` from byte ``start`` on; its status tells whether the server does that.

    Raises :class:`PassingError`, or :class:`DataError` for what will not pass by itself within a minute.
    """
    headers = {"User-Agent": "segattn"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        )
        return response
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError)):
            raise DataError(f"{url} cannot be reached ({reason}): see to the connection; {GO_ON}.") from None
        raise PassingError(reason) from None


def read_some(response: http.client.HTTPResponse, count: int) -> bytes:
    """What has come, up to ``count`` bytes; none at the end."""
    with _passing():
        return response.read1(count)


def read_all(response: http.client.HTTPResponse, limit: int) -> bytes:
    """The whole answer, or its first ``limit`` bytes."""
    with _passing():
        data = response.read(limit)
    if response.length and len(data) < limit:
        raise PassingError("the connection broke off")
    return data


@contextmanager
def _passing() -> Iterator[None]:
    """Trouble of the network becomes a :class:`PassingError`; so an OSError is always the disk's."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(error) from None


def _refusal(url: str, error: urllib.error.HTTPError) -> PassingError | DataError:
    """What an answer that is no success means.

    GitHub limits requests with 403 or 429, and says by ``Retry-After`` or ``X-RateLimit-Reset`` until when:
    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    reason = f"{error.code} {error.reason}"
    if error.code in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.TOO_MANY_REQUESTS):
        after, reset = error.headers.get("Retry-After", ""), error.headers.get("X-RateLimit-Reset", "")
        if after.isdigit() and int(after) <= PATIENCE:
            return PassingError(reason, wait=float(after))
        moment = time.time() + int(after) if after.isdigit() else int(reset) if reset.isdigit() else None
        until = "for now" if moment is None else time.strftime("until %H:%M", time.localtime(moment))
        return DataError(f"{url} is refused {until} ({reason}), as after too many requests: later, {GO_ON}.")
    if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR or error.code == http.HTTPStatus.REQUEST_TIMEOUT:
        return PassingError(reason)
    return DataError(f"{url} is not to be had ({reason}): the data set has moved.")
