"""``events.jsonl``: one JSON object a line, which never says more than the checkpoints can back."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from segattn_cli.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class EventLog:
    """An open ``events.jsonl``.

    A run that was killed may have written lines after its last checkpoint; the steps that they tell of will be
    taken again. So a checkpoint notes how long the file was, and taking up the run cuts it to that ``length``.
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

    def write(self, kind: str, **fields: Any) -> None:
        """Add a line ``{"event": kind, …}``, with ``null`` for NaN and infinities. Raises :class:`OutputError`."""
        rest = json.dumps(_finite({"event": kind, **fields}), allow_nan=False, default=str).encode() + b"\n"
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._failed(error) from None

    def length(self) -> int:
        """How many bytes are safely on the disk, which is all that have been written."""
        try:
            os.fsync(self._file.fileno())
            return self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        self._file.close()

    def _lock(self) -> None:
        """Two trainings in one folder would write into each other's files; the lock goes with the process."""
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(
                f"Another training is at work in {self.path.parent}: wait for it, or choose another --out."
            ) from None

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} cannot be written ({error.strerror or error}): make room, then go on with --resume."
        )


def _finite(value: Any) -> Any:
    """``value`` with None for what JSON cannot say: the norm of a skipped step is infinite.

    >>> _finite({"norm": math.inf, "weights": (0.5, math.nan), "step": 3})
    {'norm': None, 'weights': [0.5, None], 'step': 3}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
