"""Ctrl-C as a request: what is being done is finished, or cleared away, first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def asked_to_stop(unit: str) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, or the process asked to terminate; a second time ends it at once.

    ``unit`` is what is finished first: a step, an image.
    """
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        os.write(2, f"\nStopping after this {unit}; once more to stop at once.\n".encode())  # may not print

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """A request to terminate ends the block as Ctrl-C does, so that what is half done is cleared away."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
