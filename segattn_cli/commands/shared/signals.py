"""Ctrl-C and SIGTERM stop a command after the current step, or after it has removed unfinished files."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from segattn_cli.commands.shared.streams import write_at_once


@contextmanager
def asked_to_stop(unit: str) -> Iterator[Callable[[], bool]]:
    """A function that returns whether Ctrl-C or SIGTERM has come; a second one ends the process at once.

    ``unit`` is what the command finishes first: a step, an image.
    """
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        write_at_once(f"\nStopping after this {unit}; once more to stop at once.\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that unfinished files are removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
