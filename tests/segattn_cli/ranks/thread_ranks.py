"""Ranks that are threads of one process: for tests of all that several ranks do, but for the transport."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

#: Seconds after which a rank that waits for others fails: far more than any test takes.
DEADLINE = 300


class ThreadRank:
    """A :class:`segattn_cli.ranks.communicator.Communicator`. What is sent is pickled, as between processes."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, slots: list[Any]) -> None:
        self.rank, self.size, self.seconds = rank, size, 0.0
        self._barrier, self._slots = barrier, slots

    def gather(self, value):
        self._slots[self.rank] = pickle.dumps(value)
        self._barrier.wait(DEADLINE)
        everyone = [pickle.loads(each) for each in self._slots]
        self._barrier.wait(DEADLINE)
        self.seconds += 1e-6
        return everyone

    def empty(self, count, dtype):
        return np.empty(count, dtype)

    def exchange(self, blocks):
        return np.stack([of_rank[self.rank] for of_rank in self.gather(blocks)])

    def collect(self, block):
        return np.stack(self.gather(block))

    def abort(self, code):
        self._barrier.abort()
        raise SystemExit(code)


def on_threads(size: int, function: Callable[[ThreadRank], Any]) -> list[Any]:
    """What ``function`` returns on each of ``size`` ranks: an exception where it raises one."""
    barrier, slots, results = threading.Barrier(size), [None] * size, [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = function(ThreadRank(rank, size, barrier, slots))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results
