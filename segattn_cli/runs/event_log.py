"""The writer of ``events.jsonl``: one JSON object a line. :mod:`segattn_cli.runs.history` reads it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from segattn_cli.errors import OutputError
from segattn_cli.runs.events import LoggedEvent

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@cache
def line_format() -> TypeAdapter[LoggedEvent]:
    """The format of a line: an event as JSON, whose key ``event`` says which class it has."""
    return TypeAdapter(Annotated[LoggedEvent, Field(discriminator="event")])


class EventLog:
    """An open ``events.jsonl``.

    A run that was killed may have written lines after its last checkpoint, whose steps will be done again. So a
    checkpoint records the ``length`` of the file, to which it is cut when the run is resumed.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        try:
            # Without a buffer, closing has nothing left to write that could fail.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
            self._lock()
            self._file.truncate(min(length, self._file.tell()))
        except OSError as error:
            raise self._failed(error) from None

    def write(self, event: LoggedEvent) -> None:
        """Add a line, with ``null`` for NaN and infinities. Raises :class:`OutputError`."""
        rest = line_format().dump_json(event) + b"\n"
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._failed(error) from None

    def length(self) -> int:
        """The number of bytes that are safely on the disk: all that have been written."""
        try:
            os.fsync(self._file.fileno())
            return self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        self._file.close()

    def _lock(self) -> None:
        """Keep other trainings out of the folder, until this process ends."""
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(
                f"Another training is running in {self.path.parent}: wait for it, or choose another --out."
            ) from None

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} cannot be written ({error.strerror or error}): make room, then go on with --resume."
        )
