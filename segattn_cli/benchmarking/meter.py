"""Clock and memory of the device on which a backend computes: the host's, or a GPU's."""

from __future__ import annotations

from collections.abc import Callable

from backends import BackendError
from backends.contract import Ops
from segattn_cli.benchmarking.peak_memory import Peak, Request, measure_afresh, side_of, size_of
from segattn_cli.benchmarking.timing import timed
from segattn_cli.machine.facts import gigabytes


class Meter:
    """The host: what a call computes is complete when it returns."""

    device = "cpu"
    #: Runs before a time is believed: the first may load, compile and search.
    warm_up = 1
    #: Whether calls return before they are done.
    queues = False
    #: Whether both sides are also compared with float64, which takes a CPU too long.
    exact = False

    def seconds(self, function: Callable[[], None]) -> float:
        """Until all that the call asked for is done."""
        return timed(function)

    def queue_seconds(self, function: Callable[[], None]) -> float:
        """Until the call returns."""
        return timed(function)

    def peaks(self, request: Request) -> dict[str, Peak]:
        """The memory of each work. Raises :class:`~segattn_cli.benchmarking.peak_memory.MeasurementError`."""
        return measure_afresh(request).peaks

    def free_bytes(self) -> float | None:
        free = gigabytes("MemAvailable")
        return None if free is None else 1e9 * free

    def release(self) -> None:
        """Give back memory that nobody uses any more."""


class CudaMeter(Meter):
    """A GPU: calls queue, events on the stream of both sides take the time, pools tell the memory."""

    device = "cuda"
    warm_up = 2
    queues = True
    exact = True

    def __init__(self, against: str) -> None:
        from segattn_cli.benchmarking import cuda

        self.cuda = cuda
        if against == "torch" and not cuda.share_a_stream():
            raise BackendError(
                "CuPy and PyTorch queue on different streams, which one clock cannot time: "
                "unset CUPY_CUDA_PER_THREAD_DEFAULT_STREAM."
            )

    def seconds(self, function: Callable[[], None]) -> float:
        return self.cuda.seconds(function)

    def queue_seconds(self, function: Callable[[], None]) -> float:
        return self.cuda.queue_seconds(function)

    def peaks(self, request: Request) -> dict[str, Peak]:
        if request.against == "reference":  # which computes on the host
            return {}
        peak_of = self.cuda.their_peak if request.against else self.cuda.our_peak
        peaks: dict[str, Peak] = {}
        for group in request.case.groups:
            side = side_of(request, self.device)  # a fresh one: what it holds from before would hide in the peak
            results = 0
            for work in (each for each in group if each in side.works):
                extra, total = peak_of(side.works[work])
                grown = size_of(side.results()) - results
                results += grown
                peaks[work] = Peak(max(0, extra - grown), total, 0.0)
            del side
        return peaks

    def free_bytes(self) -> float | None:
        return self.cuda.free_bytes()

    def release(self) -> None:
        self.cuda.release()


def meter_of(ops: Ops, against: str) -> Meter:
    """The meter for ``ops`` and its peer. Raises :class:`BackendError` where one clock cannot time both."""
    return CudaMeter(against) if ops.name == "cupy" else Meter()
