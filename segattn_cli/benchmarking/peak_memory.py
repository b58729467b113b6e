"""The peak memory of one implementation, measured in a process of its own.

The processes are forked from one that has imported everything and computed nothing, so each starts within
milliseconds. Those of a benchmark that runs only once start from nothing, so that the memory of the whole process
has no part of the other implementation. The values are Linux's, from ``/proc/self/status``; where they cannot be
had, they are None.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Iterable
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends import get_backend
from backends.numpy.heap import return_freed_memory
from segattn_cli.benchmarking.benchmark import Benchmark, Implementation
from segattn_cli.benchmarking.network_benchmarks import forget_weights
from segattn_cli.benchmarking.timing import run_once, timed
from segattn_cli.benchmarking.variants import has_torch, prepare_baseline, variants_of

PROCESS = Path("/proc/self")
#: Bytes by which the peak may lie over what is held right after it was reset.
SLACK = 2**24
#: About so many values of each result are sent back, so that the two implementations can be compared.
SAMPLE = 1000


class Request(NamedTuple):
    """What is to be measured."""

    benchmark: Benchmark
    backend: str
    baseline: str = ""  # "" for our implementation
    variant: str = ""  # of the baseline


class Peak(NamedTuple):
    """The memory and the time of one pass, run once."""

    extra_bytes: int | None  # over what the process held before the call, without the results
    process_bytes: int | None  # of the whole process
    seconds: float


class Answer(NamedTuple):
    peaks: dict[str, Peak]  # by pass
    sample: dict[str, np.ndarray]  # of the results, of a benchmark that runs only once


class MeasurementError(Exception):
    """The process failed; the message says how."""


def measure_afresh(request: Request) -> Answer:
    """Measure in a fresh process. Raises :class:`MeasurementError` where that fails."""
    context = multiprocessing.get_context("spawn") if request.benchmark.once else _context()
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


def measure(implementation: Implementation) -> dict[str, Peak]:
    """The peak of each pass of ``implementation``, which has not run yet."""
    peaks = {}
    results = 0
    for name, function in implementation.passes.items():
        gc.collect()
        return_freed_memory()  # in which the peak would hide otherwise
        before = _bytes("VmRSS") if _reset_peak() else None
        seconds = timed(function)
        peak = _bytes("VmHWM")
        grown = size_of(implementation.results()) - results
        results += grown
        extra = None if before is None or peak is None else max(0, peak - before - grown)
        peaks[name] = Peak(extra, peak, seconds)
    return peaks


@cache
def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    baselines = ["segattn_cli.benchmarking.baselines.torch_danet"] if has_torch() else []
    context.set_forkserver_preload(["segattn_cli.benchmarking.comparison", *baselines])
    return context


def _work(request: Request, answers: Connection) -> None:
    """The fresh process: sends an answer, or a sentence about what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent handles Ctrl-C
    try:
        answers.send(_answer(request))
    except Exception as error:
        answers.send(f"{type(error).__name__}: {error}")


def _answer(request: Request) -> Answer:
    if request.baseline:
        prepare_baseline(request.baseline)
    small = request.benchmark.warm_up() if request.benchmark.warm_up else request.benchmark
    run_once(implementation_of(request._replace(benchmark=small)))  # loads and compiles, which is not measured
    if not request.baseline and request.backend == "numba":
        from backends.numba.compile import release

        release()  # its workspaces are measured
    implementation = implementation_of(request)
    forget_weights()
    peaks = measure(implementation)
    sample = {}
    if request.benchmark.once:
        for name, array in implementation.results().items():
            sample[name] = array.ravel()[:: max(1, array.size // SAMPLE)].copy()
    return Answer(peaks, sample)


def implementation_of(request: Request, device: str = "cpu") -> Implementation:
    """The implementation that is to be measured, which has not run yet."""
    benchmark = request.benchmark
    if not request.baseline:
        return benchmark.ours(get_backend(request.backend, benchmark.precision), benchmark.precision)
    variants = dict(variants_of(benchmark, request.baseline, device=device, compiled="compiled" in request.variant))
    return variants[request.variant]()


def size_of(results: Any) -> int:
    """Bytes of the results of an implementation."""
    arrays: Iterable[np.ndarray] = results.values() if isinstance(results, dict) else results
    return sum(array.nbytes for array in arrays)


def _reset_peak() -> bool:
    """Reset the peak of the process so far. False where the system does not allow it."""
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

