"""The standard streams: all three exist, and one that is closed, full or slow never ends the work of a command.

Messages (standard error) that cannot be written are dropped. Results (standard output) that cannot be written end
the command: with :class:`BrokenPipeError` where the reader has gone, else with :class:`OutputError`.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

from segattn_cli.errors import OutputError

#: Seconds for which a message waits until its reader goes on. Later ones are dropped until then.
PATIENCE = 5.0
#: What a pipe that is ready takes without blocking (PIPE_BUF of POSIX on Linux; others have less).
CHUNK = 512


def prepare_streams() -> None:
    """Make standard input, output and error exist, and wrap the latter two."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # Python found it closed: the next file that is opened would take its place
            stream = open(os.devnull, "w" if descriptor else "r", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        sys.stdout = _text(Results(sys.__stdout__.fileno()), sys.__stdout__)
    if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        sys.stderr = _text(Messages(sys.__stderr__.fileno()), sys.__stderr__)
    for each in (sys.stdout, sys.stderr):
        if isinstance(each, io.TextIOWrapper):  # a terminal or a file in another encoding than UTF-8
            each.reconfigure(errors="replace")


def write_at_once(text: str) -> None:
    """Write a message where nothing may be printed or wait, as in the handler of a signal."""
    with suppress(OSError, ValueError):  # the stream is closed, full, or no file
        descriptor = sys.stderr.fileno()
        if _is_ready(descriptor, 0):
            os.write(descriptor, text.encode())


class Results(io.FileIO):
    """Standard output, which reports once that it cannot be written."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.has_failed = False

    def write(self, data: Any) -> int:
        if self.has_failed:
            return len(data)
        try:
            while (written := super().write(data)) is None:  # a pipe that does not block
                _is_ready(self.fileno(), None)
            return written
        except BrokenPipeError:
            self.has_failed = True
            raise
        except OSError as error:
            self.has_failed = True
            raise OutputError(
                f"Standard output cannot be written ({error.strerror}): make room, or send it elsewhere. Files "
                "that were written are complete."
            ) from None


class Messages(io.RawIOBase):
    """Standard error, which drops what cannot be written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_blocked = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        with suppress(OSError):
            while rest:
                self._is_blocked = not _is_ready(self._descriptor, 0 if self._is_blocked else PATIENCE)
                if self._is_blocked:
                    break
                rest = rest[os.write(self._descriptor, rest[:CHUNK]) :]
        return len(data)


def _is_ready(descriptor: int, seconds: float | None) -> bool:
    """Whether a short write does not block, within so many ``seconds``, or at some time."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else 1000 * seconds))


def _text(raw: io.RawIOBase, like: TextIO) -> TextIO:
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding=like.encoding, line_buffering=bool(like.line_buffering))
