"""Ranks that talk over MPI: the processes that ``mpiexec`` or ``srun`` started.

Every call waits by asking again and again, so that signals are handled meanwhile. A rank that gives no sign of life
(:class:`Heartbeat`) ends all within half a minute; one that is alive but does not come, after an hour: a step may
compile for minutes, and a data set may be read before the first one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import stat
import sys
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

import numpy as np

from segattn_cli.errors import ExitCode, UsageError
from segattn_cli.ranks.attendance import SAVED, Attendance
from segattn_cli.ranks.communicator import MESSAGE, Transport

T = TypeVar("T")

#: Seconds between heartbeats, and how many of them may be missing. 30 s in all.
BEAT, MISSING = 1.0, 30
#: Seconds for which a call waits for ranks that are alive, and the variable that changes it.
DEADLINE, DEADLINE_VARIABLE = 3600.0, "SEGATTN_DEADLINE"
#: Seconds for which a call asks without a pause: messages and arrays, which move only while somebody asks.
EAGER, EAGER_WITH_ARRAYS = 0.001, 1.0
#: Seconds between later questions, so that who waits leaves the core to others.
PAUSE = 0.0005


class _Channel:
    """Messages and arrays of ranks, in an order of their own: beside those of another channel of the same ranks."""

    def __init__(self, mpi: Any, end: Callable[[str], object]) -> None:
        self._mpi = mpi
        self._comm = mpi.COMM_WORLD.Dup()
        self._end = end  # of all ranks, for a reason
        self.rank: int = self._comm.rank
        self.size: int = self._comm.size
        self.attendance = Attendance(self.rank, np.zeros(self.size, np.int64))
        self.deadline = DEADLINE  # seconds
        self.seconds = 0.0
        self.is_urgent = True  # whether this rank has nothing else to do than to wait

    def gather(self, value: T, what: str = MESSAGE) -> list[T]:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`. The own value is no copy."""
        message = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        lengths = np.empty(self.size, np.int64)
        self._wait(self._comm.Iallgather(np.array([len(message)], np.int64), lengths), what, EAGER)
        starts = np.concatenate([[0], lengths.cumsum()])
        received = np.empty(starts[-1], np.uint8)
        into = [received, lengths, starts[:-1], self._mpi.BYTE]
        self._wait(self._comm.Iallgatherv([message, self._mpi.BYTE], into), what, EAGER)
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
        moving = self._comm.Ialltoall(self._bytes(blocks), self._bytes(received))
        self._wait(moving, "its part of a sum of arrays", EAGER_WITH_ARRAYS)
        return received

    def collect(self, block: np.ndarray) -> np.ndarray:
        """See :class:`~segattn_cli.ranks.communicator.Communicator`."""
        block = np.ascontiguousarray(block)
        received = np.empty((self.size, *block.shape), block.dtype)
        moving = self._comm.Iallgather(self._bytes(block), self._bytes(received))
        self._wait(moving, "its array", EAGER_WITH_ARRAYS)
        return received

    def _bytes(self, array: np.ndarray) -> list[Any]:
        """The memory of an array: MPI moves bytes and adds nothing."""
        return [array.reshape(-1).view(np.uint8), self._mpi.BYTE]

    def _wait(self, request: Any, what: str, eager: float) -> None:
        began = asked = time.perf_counter()
        waited = 0.0  # without the time for which this process was stopped, as the others may have been, too
        with self.attendance.waiting(what):
            while not request.Test():
                before, asked = asked, time.perf_counter()
                waited += min(asked - before, BEAT)
                if waited > self.deadline:
                    self._end(self.attendance.late(self.deadline))
                time.sleep(0 if self.is_urgent and waited < eager else PAUSE)
        self.seconds += time.perf_counter() - began


class Mpi(_Channel):
    """A :class:`~segattn_cli.ranks.communicator.Communicator` for arrays in the memory of the CPU."""

    def __init__(self) -> None:
        from mpi4py import MPI

        super().__init__(MPI, self._end_lost)
        self._beside = _Channel(MPI, self._end_lost)
        self.deadline = self._beside.deadline = deadline_of(os.environ)
        self._beside.is_urgent = False  # until this rank has computed what it can
        self.hidden_seconds = 0.0
        self._thread = ThreadPoolExecutor(1, "segattn-later")
        channels = [self.attendance, self._beside.attendance]
        self._heartbeat = Heartbeat(MPI.COMM_WORLD.Dup(), channels, self._end_lost)
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
        for descriptor in (1, 2):
            with contextlib.suppress(Exception):
                wait_until_read(descriptor)
        self._mpi.COMM_WORLD.Abort(code)
        raise SystemExit(code)  # not reached

    def close(self) -> None:
        """Come to an orderly end together with all ranks, which call this, too."""
        self.gather(None, "that it ends")
        self._thread.shutdown()
        self._heartbeat.end()

    def finalize(self) -> None:
        """End MPI, in which ranks wait for each other and nobody looks after them."""
        self._mpi.Finalize()

    def _end_lost(self, reason: str) -> NoReturn:
        """End all ranks because one of them is waited for in vain."""
        os.write(2, f"segattn: {reason}, {SAVED}\n".encode())  # not to a stream, whose lock another thread may hold
        self.abort(ExitCode.RANK_LOST)


class Heartbeat(threading.Thread):
    """Tells the next rank every second that this one is alive, and ends all where the rank before falls silent.

    With each beat goes what is known of the attendance of all ranks, so that it comes round. The seconds are
    counted in beats of this thread: where all processes were stopped for a while, none was silent.
    """

    def __init__(self, comm: Any, channels: Sequence[Attendance], end: Callable[[str], object]) -> None:
        super().__init__(name="segattn-heartbeat", daemon=True)
        self._comm = comm
        self._channels = channels
        self._end = end
        self._ended = threading.Event()

    def run(self) -> None:
        comm = self._comm
        before, after = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
        beat, heard = (np.zeros((len(self._channels), comm.size), np.int64) for _ in range(2))
        sent, received, missing = None, comm.Irecv(heard, before), 0
        while not self._ended.wait(BEAT):
            if sent is None or sent.Test():
                beat[:] = [each.counts for each in self._channels]
                sent = comm.Isend(beat, after)
            missing += 1
            while received.Test():
                for channel, counts in zip(self._channels, heard, strict=True):
                    channel.hear(counts)
                received, missing = comm.Irecv(heard, before), 0
            if missing > MISSING:
                waiting = max(self._channels, key=lambda each: each.what is not None)
                self._end(waiting.silent(before, MISSING * BEAT))
        received.Cancel()
        received.Wait()

    def end(self) -> None:
        """Stop; other ranks must not expect beats any more."""
        self._ended.set()
        if self.is_alive():
            self.join()


def wait_until_read(descriptor: int, seconds: float = 2.0) -> None:
    """Return when the pipe ``descriptor`` is empty, or after some ``seconds``: no error.

    What mpiexec has not read from a rank when the rank aborts is lost. For what is no pipe nothing is waited for.

    >>> out, into = os.pipe()
    >>> wait_until_read(into)  # nothing was written
    """
    import fcntl  # which Windows has not
    import termios

    unread = array("i", [0])
    end = time.perf_counter() + seconds
    while stat.S_ISFIFO(os.fstat(descriptor).st_mode) and time.perf_counter() < end:
        fcntl.ioctl(descriptor, termios.FIONREAD, unread)
        if not unread[0]:
            return
        time.sleep(PAUSE)


def deadline_of(environment: Mapping[str, str]) -> float:
    """The seconds after which a rank that is alive, but does not come, ends all.

    Raises :class:`UsageError` where the variable for it is no positive number.

    >>> deadline_of({}), deadline_of({"SEGATTN_DEADLINE": "90"})
    (3600.0, 90.0)
    """
    text = environment.get(DEADLINE_VARIABLE, str(DEADLINE))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"{DEADLINE_VARIABLE} must be a number of seconds above 0, such as 7200, got {text!r}.")
    return seconds
