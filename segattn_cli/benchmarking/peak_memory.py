"""How much memory one side needs at its peak, found in a process of its own.

The processes are forked from one that has imported everything and computed nothing, so each starts within
milliseconds. The figures are Linux's, from ``/proc/self/status``; where they cannot be had, they are None.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import signal
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends import get_backend
from segattn_cli.benchmarking.benchmark import Benchmark, Implementation
from segattn_cli.benchmarking.timing import run_once, timed
from segattn_cli.benchmarking.variants import has_torch, peer_sides, require_peer

PROCESS = Path("/proc/self")
#: Bytes by which the peak may lie over what is held right after it was reset.
SLACK = 2**24
#: About so many values of each result are handed back, for the two sides to be compared.
SAMPLE = 1000


class Request(NamedTuple):
    """What is to be measured."""

    case: Benchmark
    backend: str
    against: str = ""  # the peer; "" for our side
    way: str = ""  # in which the peer does it


class Peak(NamedTuple):
    """The peak of one work, run once."""

    extra_bytes: int | None  # over what the process held before the call, without the results
    process_bytes: int | None  # of the whole process
    seconds: float


class Answer(NamedTuple):
    peaks: dict[str, Peak]  # by work
    sample: dict[str, np.ndarray]  # of the results, of a case that runs only once


class MeasurementError(Exception):
    """The process did not come to its end; the message says how far it got."""


def measure_afresh(request: Request) -> Answer:
    """Measure in a fresh process. Raises :class:`MeasurementError` where that fails."""
    context = _context()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(request, there), daemon=True)
    process.start()
    there.close()
    try:
        answer = here.recv()
    except EOFError:  # killed, as a system does that runs out of memory
        process.join()
        raise MeasurementError(f"its process ended with {process.exitcode}") from None
    process.join()
    if isinstance(answer, str):
        raise MeasurementError(answer)
    return answer


def measure(side: Implementation) -> dict[str, Peak]:
    """The peak of each work of ``side``, which has not run yet."""
    peaks = {}
    results = 0
    for work, function in side.works.items():
        gc.collect()
        _release()
        before = _bytes("VmRSS") if _reset_peak() else None
        seconds = timed(function)
        peak = _bytes("VmHWM")
        grown = size_of(side.results()) - results
        results += grown
        extra = None if before is None or peak is None else max(0, peak - before - grown)
        peaks[work] = Peak(extra, peak, seconds)
    return peaks


@cache
def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    peers = ["segattn_cli.benchmarking.baselines.torch_danet"] if has_torch() else []
    context.set_forkserver_preload(["segattn_cli.benchmarking.comparison", *peers])
    return context


def _work(request: Request, answers: Connection) -> None:
    """What the fresh process does: sends an answer, or a sentence about what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the parent's to explain
    try:
        answers.send(_answer(request))
    except Exception as error:
        answers.send(f"{type(error).__name__}: {error}")


def _answer(request: Request) -> Answer:
    if request.against:
        require_peer(request.against, get_backend(request.backend))
    small = request.case.warm_up() if request.case.warm_up else request.case
    run_once(side_of(request._replace(case=small)))  # what is loaded and compiled does not count
    if not request.against and request.backend == "numba":
        from backends.numba.compile import release

        release()  # what it keeps between calls does
    side = side_of(request)
    peaks = measure(side)
    sample = {}
    if request.case.once:
        for name, array in side.results().items():
            sample[name] = array.ravel()[:: max(1, array.size // SAMPLE)].copy()
    return Answer(peaks, sample)


def side_of(request: Request, device: str = "cpu") -> Implementation:
    """The side that is to be measured, which has not run yet."""
    case = request.case
    if not request.against:
        return case.ours(get_backend(request.backend, case.precision), case.precision)
    ways = dict(peer_sides(case, request.against, device=device, compiled="compiled" in request.way))
    return ways[request.way]()


def size_of(results: Any) -> int:
    """Bytes of what a side computed."""
    arrays: Iterable[np.ndarray] = results.values() if isinstance(results, dict) else results
    return sum(array.nbytes for array in arrays)


def _release() -> None:
    """Give memory that was freed back to the system, which the peak would hide in otherwise."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _reset_peak() -> bool:
    """Forget how much the process has held so far. False where the system does not let us."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    held, peak = _bytes("VmRSS"), _bytes("VmHWM")
    return held is not None and peak is not None and peak <= held + SLACK


def _bytes(field: str) -> int | None:
    """In memory now (VmRSS) or at most so far (VmHWM); ``ru_maxrss`` would count the parent process, too."""
    try:
        lines = (PROCESS / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes[field].split()[0]) * 1024 if field in sizes else None

