"""The writer of ``events.jsonl``: one JSON object a line. :mod:`segattn_cli.runs.history` reads it."""

from __future__ import annotations

import os
import time
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

#: A reader of the history holds the lock for a moment, to see whether a training does: so it is tried for a second.
ATTEMPTS, PAUSE = 20, 0.05


@cache
def line_format() -> TypeAdapter[LoggedEvent]:
    """The format of a line: an event as JSON, whose key ``event`` says which class it has."""
    return TypeAdapter(Annotated[LoggedEvent, Field(discriminator="event")])


class EventLog:
    """An open ``events.jsonl``, which is also the lock of its run: one training at a time writes into a folder.

    A run that was killed may have written lines after its last checkpoint, whose steps will be done again. So a
    checkpoint records the ``length`` of the file, to which it is ``cut`` when the run is resumed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Whether other trainings are kept out of the folder; not on a file system without locks.
        self.is_locked = False
        try:
            # Without a buffer, closing has nothing left to write that could fail.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise self._failed(error) from None
        self._lock()

    def cut(self, length: int) -> None:
        """Remove what follows the first ``length`` bytes. Raises :class:`OutputError`."""
        try:
            self._file.truncate(min(length, self._file.seek(0, os.SEEK_END)))
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
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(PAUSE * (attempt < ATTEMPTS - 1))
            except OSError:  # a file system without locks
                return
            else:
                self.is_locked = True
                return
        self._file.close()
        raise OutputError(
            f"Another training is running in {self.path.parent}: wait for it, or choose another --out."
        )

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} cannot be written ({error.strerror or error}): make room, then go on with --resume."
        )
