"""HTTP requests with retries; an error that a retry cannot mend becomes one sentence."""

from __future__ import annotations

import http
import http.client
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from segattn_cli.errors import DataError, printable

ATTEMPTS = 5
TIMEOUT = 30.0  # seconds without a byte
LONGEST_WAIT = 60  # seconds; where a server asks for a longer wait, the user decides
RESUME = "the same command resumes the download"

T = TypeVar("T")


class TemporaryError(Exception):
    """An error that may not occur again, where necessary after ``wait`` seconds."""

    def __init__(self, reason: object, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Stopped(Exception):
    """The download was stopped."""


def with_retries(attempt: Callable[[], T], url: str, pause: float, stop: threading.Event) -> T:
    """The result of ``attempt``, which is repeated after a :class:`TemporaryError`; each pause is twice the last.

    Raises :class:`DataError` after the last attempt, and :class:`Stopped` once ``stop`` is set.
    """
    number = 1
    while True:
        try:
            return attempt()
        except TemporaryError as error:
            if number == ATTEMPTS:
                raise DataError(f"{url} cannot be downloaded ({_said(error)}): later, {RESUME}.") from None
            if stop.wait(max(error.wait, pause * 2 ** (number - 1))):
                raise Stopped from None
        number += 1


def request(url: str, start: int = 0) -> http.client.HTTPResponse:
    """The response to a request for ``url`` from byte ``start`` on; status 200 means that it has all bytes.

    Raises :class:`TemporaryError`, or :class:`DataError` where a retry within a minute cannot help.
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
            raise DataError(f"{url} cannot be reached ({_said(reason)}): check the connection; {RESUME}.") from None
        raise TemporaryError(reason) from None
    except ValueError as error:
        raise DataError(f"{url} leads to what is no address ({_said(error)}): later, {RESUME}.") from None


def read_some(response: http.client.HTTPResponse, most: int) -> bytes:
    """The bytes that have arrived, up to ``most``; none at the end."""
    with _temporary():
        return response.read1(most)


def read_all(response: http.client.HTTPResponse, limit: int) -> bytes:
    """The whole response, or its first ``limit`` bytes."""
    with _temporary():
        data = response.read(limit)
    if response.length and len(data) < limit:
        raise TemporaryError("the connection was lost")
    return data


@contextmanager
def _temporary() -> Iterator[None]:
    """Turn errors of the network into :class:`TemporaryError`, so that an OSError always concerns the disk."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise TemporaryError(error) from None


def _refusal(url: str, error: urllib.error.HTTPError) -> TemporaryError | DataError:
    """The error for a response without success.

    GitHub limits requests by 403 or 429; ``Retry-After`` or ``X-RateLimit-Reset`` say until when:
    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    reason = _said(f"{error.code} {error.reason}")
    if error.code in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.TOO_MANY_REQUESTS):
        after, reset = error.headers.get("Retry-After", ""), error.headers.get("X-RateLimit-Reset", "")
        seconds = _whole_number(after)
        if seconds is not None and seconds <= LONGEST_WAIT:
            return TemporaryError(reason, wait=float(seconds))
        moment = _whole_number(reset) if seconds is None else time.time() + seconds
        until = "for now" if moment is None else time.strftime("until %H:%M", time.localtime(moment))
        return DataError(f"{url} is refused {until} ({reason}), as after too many requests: later, {RESUME}.")
    if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR or error.code == http.HTTPStatus.REQUEST_TIMEOUT:
        return TemporaryError(reason)
    return DataError(f"{url} cannot be downloaded ({reason}): the data set has moved.")


def _said(reason: object) -> str:
    """What a server or the network says, for a sentence: on one line, and not too long."""
    return printable(str(reason).strip())[:200]


def _whole_number(header: str) -> int | None:
    """The number in a header; None for what is none, or none of this century.

    >>> _whole_number("30"), _whole_number("²"), _whole_number("Wed, 21 Oct 2015 07:28:00 GMT")
    (30, None, None)
    """
    return int(header) if re.fullmatch("[0-9]{1,10}", header) else None
