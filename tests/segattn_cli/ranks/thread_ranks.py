"""Ranks that are threads of one process: for tests of all that several ranks do, but for the transport."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np

from segattn_cli.ranks.attendance import Attendance
from segattn_cli.ranks.communicator import MESSAGE

#: Seconds after which a rank that waits for others fails: far more than any test takes.
DEADLINE = 300


class ThreadRank:
    """A :class:`segattn_cli.ranks.communicator.Communicator`. What is sent is pickled, as between processes."""

    seconds = hidden_seconds = 0.0

    def __init__(self, rank: int, channel: Channel, beside: Channel) -> None:
        self.rank, self.size = rank, channel.barrier.parties
        self._channel, self._of_later = channel, beside
        self._attendance = Attendance(rank, channel.counts)
        self._thread = ThreadPoolExecutor(1)
        self._begun: list[Future[Any]] = []

    def gather(self, value, what=MESSAGE):
        self._channel.slots[self.rank] = pickle.dumps(value)
        with self._attendance.waiting(what):
            self._meet()
        everyone = [pickle.loads(each) for each in self._channel.slots]
        self._meet()
        self.seconds += 1e-6
        return everyone

    def _meet(self):
        try:
            self._channel.barrier.wait(self._channel.deadline)
        except threading.BrokenBarrierError:
            raise RankLost(self._attendance.late(self._channel.deadline)) from None

    def empty(self, count, dtype):
        return np.empty(count, dtype)

    def exchange(self, blocks):
        return np.stack([of_rank[self.rank] for of_rank in self.gather(blocks, "its part of a sum of arrays")])

    def collect(self, block):
        return np.stack(self.gather(block, "its array"))

    def later(self, function):
        transport = ThreadRank(self.rank, self._of_later, self._of_later)
        future = self._thread.submit(copy_context().run, function, transport)
        self._begun.append(future)
        return lambda: future.result(DEADLINE)

    def close(self):
        """Wait until all that was begun is done. Raises the error of what nobody has waited for."""
        self._thread.shutdown()
        for each in self._begun:
            each.result()

    def abort(self, code):
        self._channel.barrier.abort()
        raise SystemExit(code)


class Channel:
    """Where threads meet, and what they leave there for each other."""

    def __init__(self, size: int, deadline: float) -> None:
        self.barrier = threading.Barrier(size)
        self.slots: list[Any] = [None] * size
        self.counts = np.zeros(size, np.int64)
        self.deadline = deadline


class RankLost(Exception):
    """A rank has not come."""


def on_threads(size: int, function: Callable[[ThreadRank], Any], deadline: float = DEADLINE) -> list[Any]:
    """What ``function`` returns on each of ``size`` ranks: an exception where it raises one."""
    channel, beside, results = Channel(size, deadline), Channel(size, deadline), [None] * size

    def run(rank: int) -> None:
        comm = ThreadRank(rank, channel, beside)
        try:
            results[rank] = function(comm)
        except Exception as error:
            results[rank] = error
        try:
            comm.close()
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results
