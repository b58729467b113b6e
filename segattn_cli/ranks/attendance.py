"""Which rank has come to which call, so that a rank that others wait for in vain can be named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

#: What follows where all ranks are ended.
SAVED = "so all ranks end; what was saved is complete: go on with --resume."


class Attendance:
    """The calls of a communicator that each rank has come to, as far as this one has heard.

    All ranks make the same calls in the same order, so that of two ranks the one with fewer of them is behind.

    >>> attendance = Attendance(0, np.zeros(3, np.int64))
    >>> with attendance.waiting("the gradients of its batches"):
    ...     attendance.late(60)
    ...     attendance.hear(np.array([0, 1, 0]))
    ...     attendance.late(60)
    'Ranks 1 and 2 have not sent the gradients of its batches within 60 s'
    'Rank 2 has not sent the gradients of its batches within 60 s'
    """

    def __init__(self, rank: int, counts: np.ndarray) -> None:
        self.rank = rank
        self.counts = counts  # (ranks,) int64
        self.what: str | None = None  # that is waited for

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """This rank is in a call, in which it waits for ``what`` of the others."""
        self.counts[self.rank] += 1
        self.what = what
        yield
        self.what = None

    def hear(self, counts: np.ndarray) -> None:
        """Learn what another rank has heard."""
        np.maximum(self.counts, counts, out=self.counts)

    def late(self, seconds: float) -> str:
        """Which ranks have not come for so long to the call that this one waits in."""
        behind = [str(rank) for rank in np.flatnonzero(self.counts < self.counts[self.rank])]
        ranks = f"Rank{'s' * (len(behind) > 1)} {' and '.join(behind)}" if behind else "Another rank"
        return f"{ranks} {'have' if len(behind) > 1 else 'has'} not sent {self.what} within {seconds:g} s"

    def silent(self, rank: int, seconds: float) -> str:
        """That ``rank`` gives no sign of life.

        >>> Attendance(0, np.zeros(2, np.int64)).silent(1, 30)
        'Rank 1 has not answered for 30 s'
        """
        waited = "" if self.what is None else f", and rank {self.rank} waits for {self.what}"
        return f"Rank {rank} has not answered for {seconds:g} s{waited}"
