"""Ranks that talk over MPI: the processes that ``mpiexec`` or ``srun`` started.

Every call waits by asking again and again, so that signals are handled meanwhile. A rank that is alive is waited
for as long as it takes: a step may compile for minutes. Whether it is alive is what the :class:`Heartbeat` is for.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

import numpy as np

from segattn_cli.errors import ExitCode
from segattn_cli.ranks.communicator import Transport

T = TypeVar("T")

#: Seconds between heartbeats, and how many of them may be missing. 30 s in all.
BEAT, MISSING = 1.0, 30
#: Seconds for which a call asks without a pause: messages and arrays, which move only while somebody asks.
EAGER, EAGER_WITH_ARRAYS = 0.001, 1.0
#: Seconds between later questions, so that who waits leaves the core to others.
PAUSE = 0.0005


class _Channel:
    """Messages and arrays of ranks, in an order of their own: beside those of another channel of the same ranks."""

    def __init__(self, mpi: Any, comm: Any) -> None:
        self._mpi = mpi
        self._comm = comm
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.seconds = 0.0
        self.is_urgent = True  # whether this rank has nothing else to do than to wait

    def gather(self, value: T) -> list[T]:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`. The own value is no copy."""
        message = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        lengths = np.empty(self.size, np.int64)
        self._wait(self._comm.Iallgather(np.array([len(message)], np.int64), lengths), EAGER)
        starts = np.concatenate([[0], lengths.cumsum()])
        received = np.empty(starts[-1], np.uint8)
        into = [received, lengths, starts[:-1], self._mpi.BYTE]
        self._wait(self._comm.Iallgatherv([message, self._mpi.BYTE], into), EAGER)
        return [
            value if rank == self.rank else pickle.loads(received[start:end].data)
            for rank, (start, end) in enumerate(pairwise(starts))
        ]

    def empty(self, count: int, dtype: np.dtype) -> np.ndarray:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        return np.empty(count, dtype)

    def exchange(self, blocks: np.ndarray) -> np.ndarray:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        blocks = np.ascontiguousarray(blocks)
        received = np.empty_like(blocks)
        self._wait(self._comm.Ialltoall(self._bytes(blocks), self._bytes(received)), EAGER_WITH_ARRAYS)
        return received

    def collect(self, block: np.ndarray) -> np.ndarray:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        block = np.ascontiguousarray(block)
        received = np.empty((self.size, *block.shape), block.dtype)
        self._wait(self._comm.Iallgather(self._bytes(block), self._bytes(received)), EAGER_WITH_ARRAYS)
        return received

    def _bytes(self, array: np.ndarray) -> list[Any]:
        """The memory of an array: MPI moves bytes and adds nothing."""
        return [array.reshape(-1).view(np.uint8), self._mpi.BYTE]

    def _wait(self, request: Any, eager: float) -> None:
        began = time.perf_counter()
        while not request.Test():
            is_eager = self.is_urgent and time.perf_counter() - began < eager
            time.sleep(0 if is_eager else PAUSE)
        self.seconds += time.perf_counter() - began


class Mpi(_Channel):
    """A :class:`~segattn_cli.ranks.communicator.Communicator` for arrays in the memory of the CPU."""

    def __init__(self) -> None:
        from mpi4py import MPI

        super().__init__(MPI, MPI.COMM_WORLD.Dup())
        self.hidden_seconds = 0.0
        self._beside = _Channel(MPI, MPI.COMM_WORLD.Dup())
        self._thread = ThreadPoolExecutor(1, "segattn-later")
        self._heartbeat = Heartbeat(MPI.COMM_WORLD.Dup(), self.abort)
        self._heartbeat.start()

    def later(self, function: Callable[[Transport], T]) -> Callable[[], T]:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`. A thread waits, on a channel of its own."""

        def timed() -> tuple[T, float]:
            began = time.perf_counter()
            return function(self._beside), time.perf_counter() - began

        future = self._thread.submit(copy_context().run, timed)  # NumPy's errstate is in the context

        def wait() -> T:
            began = time.perf_counter()
            self._beside.is_urgent = True
            result, seconds = future.result()
            self._beside.is_urgent = False
            waited = time.perf_counter() - began
            self.seconds += waited
            self.hidden_seconds += max(0.0, seconds - waited)
            return result

        return wait

    def abort(self, code: int) -> NoReturn:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        self._mpi.COMM_WORLD.Abort(code)
        raise SystemExit(code)  # not reached

    def close(self) -> None:
        """Come to an orderly end together with all ranks, which call this, too."""
        self.gather(None)
        self._thread.shutdown()
        self._heartbeat.end()


class Heartbeat(threading.Thread):
    """Tells the next rank every second that this one is alive, and ends all where the rank before falls silent.

    The seconds are counted in beats of this thread: where all processes were stopped for a while, none was silent.
    """

    def __init__(self, comm: Any, abort: Callable[[int], object]) -> None:
        super().__init__(name="segattn-heartbeat", daemon=True)
        self._comm = comm
        self._abort = abort
        self._ended = threading.Event()

    def run(self) -> None:
        comm = self._comm
        before, after = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
        beat, heard = bytearray(1), bytearray(1)
        sent, received, missing = None, comm.Irecv(heard, before), 0
        while not self._ended.wait(BEAT):
            if sent is None or sent.Test():
                sent = comm.Isend(beat, after)
            missing += 1
            while received.Test():
                received, missing = comm.Irecv(heard, before), 0
            if missing > MISSING:
                sentence = (
                    f"segattn: Rank {before} has not answered for {round(MISSING * BEAT)} s, so all ranks end; "
                    "what was saved is complete: go on with --resume.\n"
                )
                os.write(2, sentence.encode())  # not to a stream, whose lock the main thread may hold
                self._abort(ExitCode.RANK_LOST)
        received.Cancel()
        received.Wait()

    def end(self) -> None:
        """Stop; other ranks must not expect beats any more."""
        self._ended.set()
        if self.is_alive():
            self.join()
