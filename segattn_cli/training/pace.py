"""How long steps take."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from segattn_cli.data import Batch
from segattn_cli.ranks.communicator import Communicator

#: The estimate of the time that is left is made from so many measurements.
RECENT = 25


class Pace:
    """A stopwatch for steps, and the estimate of the time that the rest will take.

    The estimate is the median of recent steps: a slow one now and then does not change it. The first measurement
    does not count, for compiled loops and kernels are compiled during the first step.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._is_warm = False
        self.restart()

    def restart(self) -> None:
        """Measure from now on."""
        self._since = time.perf_counter()

    def lap(self, steps: int) -> float:
        """The seconds that each of the last ``steps`` took, since the last lap or restart."""
        now = time.perf_counter()
        seconds, self._since = (now - self._since) / steps, now
        if self._is_warm:
            self._recent.append(seconds)
        self._is_warm = True
        return seconds

    def seconds_for(self, steps: int) -> float:
        """An estimate of the time for ``steps`` more; NaN before there is one."""
        if not steps:
            return 0.0
        return statistics.median(self._recent) * steps if self._recent else math.nan


class Load(NamedTuple):
    """The seconds that a rank spent in one step."""

    waiting: float  # for data
    communicating: float  # and waiting for other ranks
    hidden: float  # that communication took beside the computation


class LoadMeter:
    """Measures what one step costs this rank beside its arithmetic."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._before = comm.seconds, comm.hidden_seconds

    def lap(self, batches: Sequence[Batch]) -> Load:
        """The seconds since the last lap."""
        now = self._comm.seconds, self._comm.hidden_seconds
        (seconds, hidden), self._before = self._before, now
        return Load(sum(batch.wait_seconds for batch in batches), now[0] - seconds, now[1] - hidden)
