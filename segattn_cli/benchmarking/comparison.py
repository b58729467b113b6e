"""What is to be timed, by name, and the timing itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from backends import BackendError, get_backend
from backends.contract import Ops
from backends.precision import array_dtype
from segattn_cli.benchmarking.agreement import too_far
from segattn_cli.benchmarking.benchmark import Benchmark, Implementation
from segattn_cli.benchmarking.meter import Meter, meter_of
from segattn_cli.benchmarking.network_benchmarks import gpu_network_cases, memory_cases, networks_cases
from segattn_cli.benchmarking.op_benchmarks import attention_cases, gpu_attention_cases, ops_cases
from segattn_cli.benchmarking.peak_memory import Answer, MeasurementError, Peak, Request, measure_afresh
from segattn_cli.benchmarking.timing import (
    LONG,
    Seconds,
    Timing,
    in_turns,
    run_once,
    timings_once,
    trial,
    until_queued,
)
from segattn_cli.benchmarking.variants import PEERS, peer_sides
from segattn_cli.errors import UsageError

SUITES: dict[str, Callable[[], list[Benchmark]]] = {
    "ops": ops_cases,
    "networks": networks_cases,
    "attention": attention_cases,
    "memory": memory_cases,
    "gpu": lambda: [*gpu_attention_cases(), *gpu_network_cases()],
}


class BenchmarkPlan(NamedTuple):
    """Which cases are timed, against whom and how."""

    cases: Sequence[Benchmark]
    backend: str = "numpy"
    against: str = "torch"
    repeat: int | None = None  # rounds; None for as many as there is time for
    memory: bool = True  # whether peaks are measured, too
    compiled: bool | None = None  # whether torch.compile is one of PyTorch's ways; None for where that is quick


@dataclass(frozen=True)
class Row:
    """One work of one case on both sides; the peer's figures are None where none of its ways could run."""

    suite: str
    subject: str
    work: str
    shape: str
    precision: str
    seconds: float  # the median
    spread: float  # the median distance from it
    rounds: int
    gflops: float | None
    peak_share: float | None  # of what a matrix product reaches
    extra_bytes: int | None
    process_bytes: int | None
    peer: str | None  # and in which of its ways
    peer_seconds: float | None
    peer_spread: float | None
    peer_extra_bytes: int | None
    peer_process_bytes: int | None
    error: float | None = None  # from float64, of the largest value or of all gradients' norm
    peer_error: float | None = None
    queue_seconds: float | None = None  # until a GPU has been told all that it is to do
    peer_queue_seconds: float | None = None
    ways: Mapping[str, float] = field(default_factory=dict)  # seconds of each of the peer's ways, tried a few times

    @property
    def dtype(self) -> str:
        """Of the arrays: TF32 is a way to multiply float32."""
        return "float32" if self.precision == "tf32" else self.precision

    @property
    def ratio(self) -> float | None:
        """Our seconds for one of the peer's."""
        return self.seconds / self.peer_seconds if self.peer_seconds else None

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"dtype": self.dtype, "ratio": self.ratio}


class Started(NamedTuple):
    """A case is about to run."""

    done: int  # before it
    total: int
    case: Benchmark


class Note(NamedTuple):
    """Something was left out; the sentence says why."""

    sentence: str


class Mismatch(NamedTuple):
    """Both sides compute different numbers, or ours computes none, so the case was not timed."""

    sentence: str


Event = Started | Row | Note | Mismatch


def plan(
    suite: str = "all", only: Sequence[str] = (), *, backend: str = "numpy", against: str = "torch",
    precisions: Sequence[str] = ("float32",), repeat: int | None = None, memory: bool = True,
    compiled: bool | None = None,
) -> BenchmarkPlan:
    """The plan for a suite, or ``all`` that suit the backend; ``only`` keeps what has one of these in its title.

    Raises :class:`UsageError` for a name that does not exist, and where nothing is left.

    >>> [case.title for case in plan("attention", ["N=2304"]).cases]
    ['position_attention N=2304 64/512', 'channel_attention N=2304 512', 'scale_fusion N=2304 2×19']
    """
    if suite not in (*SUITES, "all"):
        raise UsageError(f"There is no suite {suite!r}: choose from {', '.join(SUITES)}, all.")
    if against not in PEERS:
        raise UsageError(f"There is no peer {against!r}: choose from {', '.join(PEERS)}.")
    cases = [case for name, make in SUITES.items() if suite in (name, "all") for case in make()]
    if suite == "all":
        cases = [case for case in cases if case.device in ("", "cuda" if backend.startswith("cupy") else "cpu")]
    if not memory:
        cases = [case for case in cases if not case.once]
    if only:
        cases = [case for case in cases if any(text in case.title for text in only)]
    if not cases:
        wanted = f" with {' or '.join(map(repr, only))} in its title" if only else " that measures no memory"
        raise UsageError(f"The suite {suite} has no case{wanted}: `segattn bench --list` has all.")
    cases = [replace(case, precision=precision) for case in cases for precision in precisions]
    return BenchmarkPlan(cases, backend, against, repeat, memory, compiled)


def run(plan: BenchmarkPlan, peaks: Mapping[str, float]) -> Iterator[Event]:
    """Time as planned, where a matrix product reaches so many GFLOP/s by precision.

    Raises :class:`BackendError` where nothing can be timed at all; one case that cannot does not cost the others.
    """
    for number, case in enumerate(plan.cases):
        yield Started(number, len(plan.cases), case)
        try:
            yield from (_run_once if case.once else _run)(case, plan, peaks.get(case.precision))
        except BackendError:
            raise
        except Disagreement as problem:
            yield Mismatch(f"{case.title}{_in(case)} is not timed: {problem}.")
        except Exception as error:
            yield Mismatch(f"{case.title}{_in(case)} is not timed: it cannot run: {_first_line(error)}")


class Disagreement(Exception):
    """Our side computes something else; the message says what, and beside whom."""


class Chosen(NamedTuple):
    """The fastest way of the peer to do a group of works, so far."""

    total: float  # seconds of the group
    seconds: Seconds  # of each work
    name: str
    side: Implementation
    errors: Mapping[str, float]


def _run(case: Benchmark, plan: BenchmarkPlan, peak: float | None) -> Iterator[Event]:
    ops = get_backend(plan.backend, case.precision)
    meter = meter_of(ops, plan.against)
    exact = _exact(ops, case) if meter.exact else None
    ours, first, results = _start(partial(case.ours, ops, case.precision), meter)
    errors = {} if exact is None else case.errors(results, exact)
    best, ways = yield from _choose(case, plan, meter, results, exact, errors)
    del results, exact
    their_first = {work: way.seconds[work] for work, way in best.items()}
    sides = {work: way.side for work, way in best.items()}
    if plan.repeat is None and sum(first.values()) + sum(their_first.values()) > LONG:
        our_timings, their_timings = timings_once(first), timings_once(their_first)
    else:
        our_timings, their_timings = in_turns(ours, sides, plan.repeat, meter.seconds)
    queued, their_queued = _queued(ours, sides, meter)
    names = {work: way.name for work, way in best.items()}
    their_errors = {work: way.errors[work] for work, way in best.items() if work in way.errors}
    del ours, sides, best
    our_peaks, their_peaks = yield from _peaks(case, plan, names, meter)
    for work, operations in case.operations().items():
        row = _row(
            case, work, operations, peak, our_timings[work], our_peaks.get(work), _peer(plan, names.get(work)),
            their_timings.get(work), their_peaks.get(work),
        )  # fmt: skip
        yield replace(
            row, error=errors.get(work), peer_error=their_errors.get(work), queue_seconds=queued.get(work),
            peer_queue_seconds=their_queued.get(work),
            ways={name: seconds[work] for name, seconds in ways.items() if work in seconds},
        )  # fmt: skip


def _choose(
    case: Benchmark, plan: BenchmarkPlan, meter: Meter, results: Any, exact: Any, errors: Mapping[str, float]
) -> Generator[Note, None, tuple[dict[str, Chosen], dict[str, Seconds]]]:
    """The fastest of the peer's ways by work, and the seconds of all of them. Raises :class:`Disagreement`."""
    best: dict[str, Chosen] = {}
    ways: dict[str, Seconds] = {}
    for name, make in peer_sides(case, plan.against, device=meter.device, compiled=plan.compiled):
        if sentence := _too_large(case, name, meter):
            yield Note(sentence)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch's many on a kernel that does not fit: the note says it
                side, seconds, theirs = _start(make, meter)
        except Exception as error:  # of many kinds: no memory, no kernel, no compiler
            yield Note(f"{case.title}{_in(case)}: {name} cannot run: {_first_line(error)}")
            continue
        their_errors = {} if exact is None else case.errors(theirs, exact)
        if problem := _difference(case, results, theirs, errors, their_errors):
            raise Disagreement(f"{problem} beside {name}")
        if problem := too_far(their_errors, errors, case.tolerances, case.precision):
            yield Note(f"{case.title}{_in(case)}: {name} is left out, its {problem}.")
            continue
        ways[name] = seconds = trial(side, seconds, meter.seconds)
        for group in case.groups:
            if not set(group) <= set(seconds):
                continue
            total = sum(seconds[work] for work in group)
            if group[0] not in best or total < best[group[0]].total:
                best |= dict.fromkeys(group, Chosen(total, seconds, name, side, their_errors))
        del side, theirs
    if not ways and (problem := too_far(errors, {}, case.tolerances, case.precision)):
        raise Disagreement(problem)
    return best, ways


def _exact(ops: Ops, case: Benchmark) -> Any:
    """What the case computes in float64, from the same inputs."""
    side = case.ours(ops, case.precision, exact=True)
    run_once(side)
    return side.results()


def _start(make: Callable[[], Implementation], meter: Meter) -> tuple[Implementation, Seconds, Any]:
    """A side that is warm, what its works took, and what they computed at first: a network goes on to learn."""
    meter.release()
    side = make()
    seconds = run_once(side, meter.seconds)
    results = side.results()
    for _ in range(meter.warm_up - 1):
        seconds = run_once(side, meter.seconds)
    return side, seconds, results


def _difference(
    case: Benchmark, ours: Any, theirs: Any, errors: Mapping[str, float], their_errors: Mapping[str, float]
) -> str:
    """What is wrong with our results, or "": beside float64 where that was computed, else beside the peer's."""
    if errors:
        return too_far(errors, their_errors, case.tolerances, case.precision)
    return case.difference(ours, theirs)


def _queued(ours: Implementation, theirs: Mapping[str, Implementation], meter: Meter) -> tuple[Seconds, Seconds]:
    """After how long the host is free again, on both sides; on the host itself there is nothing to ask."""
    if not meter.queues:
        return {}, {}
    their_queued: Seconds = {}
    for side in {id(side): side for side in theirs.values()}.values():
        works = [work for work, own in theirs.items() if own is side]
        their_queued |= until_queued(side, works, meter.queue_seconds)
    return until_queued(ours, ours.works, meter.queue_seconds), their_queued


def _run_once(case: Benchmark, plan: BenchmarkPlan, peak: float | None) -> Iterator[Event]:
    """A case too large for turns: each side, in each of its ways, runs once in a process of its own."""
    ours = measure_afresh(Request(case, plan.backend))
    found: dict[str, Answer] = {}
    for name, _ in peer_sides(case, plan.against, compiled=False):
        try:
            found[name] = measure_afresh(Request(case, plan.backend, plan.against, name))
        except MeasurementError as error:
            yield Note(f"{case.title}: {name} cannot run: {error}")
            continue
        if problem := case.difference(ours.sample, found[name].sample):
            raise Disagreement(f"{problem} beside {name}")
    for work, operations in case.operations().items():
        peaks = {name: answer.peaks[work] for name, answer in found.items()}
        best = min(peaks, key=lambda name: peaks[name].seconds) if peaks else None
        theirs = peaks[best] if best else None
        yield _row(
            case, work, operations, peak, Timing.of([ours.peaks[work].seconds]), ours.peaks[work],
            _peer(plan, best), Timing.of([theirs.seconds]) if theirs else None, theirs,
        )  # fmt: skip


def _peer(plan: BenchmarkPlan, way: str | None) -> str | None:
    return way if way is None or way == plan.against else f"{plan.against} {way}"


def _row(
    case: Benchmark, work: str, operations: int | None, peak: float | None, timing: Timing, ours: Peak | None,
    peer: str | None, peer_timing: Timing | None, theirs: Peak | None,
) -> Row:
    gflops = operations / timing.seconds / 1e9 if operations else None
    return Row(
        case.suite, case.subject, work, case.shape, case.precision, timing.seconds, timing.spread, timing.rounds,
        gflops=gflops,
        peak_share=gflops / peak if gflops and peak else None,
        extra_bytes=ours.extra_bytes if ours else None,
        process_bytes=ours.process_bytes if ours else None,
        peer=peer,
        peer_seconds=peer_timing.seconds if peer_timing else None,
        peer_spread=peer_timing.spread if peer_timing else None,
        peer_extra_bytes=theirs.extra_bytes if theirs else None,
        peer_process_bytes=theirs.process_bytes if theirs else None,
    )  # fmt: skip


def _peaks(
    case: Benchmark, plan: BenchmarkPlan, ways: Mapping[str, str], meter: Meter
) -> Generator[Note, None, tuple[dict[str, Peak], dict[str, Peak]]]:
    """Our peaks and the peer's by work; ``ways`` has the way in which the peer does each."""
    ours: dict[str, Peak] = {}
    theirs: dict[str, Peak] = {}
    if not plan.memory:
        return ours, theirs
    try:
        meter.release()
        ours = meter.peaks(Request(case, plan.backend))
        for way in dict.fromkeys(ways.values()):
            peaks = meter.peaks(Request(case, plan.backend, plan.against, way))
            theirs |= {work: peaks[work] for work in ways if ways[work] == way and work in peaks}
    except Exception as error:  # the times are worth keeping
        yield Note(f"{case.title}{_in(case)}: the memory could not be measured: {_first_line(error)}.")
    return ours, theirs


def _too_large(case: Benchmark, way: str, meter: Meter) -> str:
    """A sentence where the peer's ``way`` would need more memory than is free; or ""."""
    if way not in case.peer_bytes:
        return ""
    needed, free = case.peer_bytes[way] * array_dtype(case.precision).itemsize / 4, meter.free_bytes()
    if free is None or needed <= free:
        return ""
    return (
        f"{case.title}{_in(case)}: {way} is left out, it needs about {needed / 1e9:.0f} GB of memory and "
        f"{free / 1e9:.0f} are free."
    )


def _in(case: Benchmark) -> str:
    """The precision, where it is not the usual one."""
    return "" if case.precision == "float32" else f" in {case.precision}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
