"""Clock and memory of the device on which a backend computes: the host's, or a GPU's."""

from __future__ import annotations

from collections.abc import Callable

from backends import BackendError
from backends.contract import Ops
from segattn_cli.benchmarking.peak_memory import Peak, Request, implementation_of, measure_afresh, size_of
from segattn_cli.benchmarking.timing import timed
from segattn_cli.machine.facts import gigabytes


class Meter:
    """The host: what a call computes is complete when it returns."""

    device = "cpu"
    #: Untimed runs: the first may load, compile and search.
    warm_up = 1
    #: Whether calls return before they are done.
    queues = False
    #: Whether both implementations are also compared with float64, which takes a CPU too long.
    exact = False

    def seconds(self, function: Callable[[], None]) -> float:
        """Until all that the call asked for is done."""
        return timed(function)

    def queue_seconds(self, function: Callable[[], None]) -> float:
        """Until the call returns."""
        return timed(function)

    def peaks(self, request: Request) -> dict[str, Peak]:
        """The peak memory of each pass. Raises :class:`~segattn_cli.benchmarking.peak_memory.MeasurementError`."""
        return measure_afresh(request).peaks

    def free_bytes(self) -> float | None:
        free = gigabytes("MemAvailable")
        return None if free is None else 1e9 * free

    def release(self) -> None:
        """Free unused memory."""


class CudaMeter(Meter):
    """A GPU: calls queue, events on the common stream measure the time, and pools the memory."""

    device = "cuda"
    warm_up = 2
    queues = True
    exact = True

    def __init__(self, baseline: str) -> None:
        from segattn_cli.benchmarking import cuda

        self.cuda = cuda
        if baseline == "torch" and not cuda.share_a_stream():
            raise BackendError(
                "CuPy and PyTorch queue on different streams, which one clock cannot time: "
                "unset CUPY_CUDA_PER_THREAD_DEFAULT_STREAM."
            )

    def seconds(self, function: Callable[[], None]) -> float:
        return self.cuda.seconds(function)

    def queue_seconds(self, function: Callable[[], None]) -> float:
        return self.cuda.queue_seconds(function)

    def peaks(self, request: Request) -> dict[str, Peak]:
        if request.baseline == "reference":  # which computes on the host
            return {}
        peak_of = self.cuda.their_peak if request.baseline else self.cuda.our_peak
        peaks: dict[str, Peak] = {}
        for group in request.benchmark.groups:
            implementation = implementation_of(request, self.device)  # a fresh one, which holds nothing yet
            results = 0
            for name in (each for each in group if each in implementation.passes):
                extra, total = peak_of(implementation.passes[name])
                grown = size_of(implementation.results()) - results
                results += grown
                peaks[name] = Peak(max(0, extra - grown), total, 0.0)
            del implementation
        return peaks

    def free_bytes(self) -> float | None:
        return self.cuda.free_bytes()

    def release(self) -> None:
        self.cuda.release()


def meter_of(ops: Ops, baseline: str) -> Meter:
    """The meter for ``ops`` and its baseline. Raises :class:`BackendError` where one clock cannot time both."""
    return CudaMeter(baseline) if ops.name == "cupy" else Meter()
