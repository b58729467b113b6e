"""What is to be timed, by name, and the timing itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from backends.contract import Ops
from segattn_cli.benchmarking.cases import Case, Side
from segattn_cli.benchmarking.competitors import PEERS, peer_sides
from segattn_cli.benchmarking.memory import Answer, MeasurementError, Peak, Request, measure_afresh
from segattn_cli.benchmarking.networks import memory_cases, networks_cases
from segattn_cli.benchmarking.operations import attention_cases, ops_cases
from segattn_cli.benchmarking.timing import LONG, Seconds, Timing, in_turns, run_once, timings_once, trial
from segattn_cli.doctor import gigabytes
from segattn_cli.errors import UsageError

SUITES: dict[str, Callable[[], list[Case]]] = {
    "ops": ops_cases,
    "networks": networks_cases,
    "attention": attention_cases,
    "memory": memory_cases,
}


class Plan(NamedTuple):
    """Which cases are timed, against whom and how."""

    cases: Sequence[Case]
    against: str = "torch"
    repeat: int | None = None  # rounds; None for as many as there is time for
    memory: bool = True  # whether peaks are measured, too
    compiled: bool = False  # whether torch.compile is one of PyTorch's ways


@dataclass(frozen=True)
class Row:
    """One work of one case on both sides; the peer's figures are None where none of its ways could run."""

    suite: str
    subject: str
    work: str
    shape: str
    dtype: str
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

    @property
    def ratio(self) -> float | None:
        """Our seconds for one of the peer's."""
        return self.seconds / self.peer_seconds if self.peer_seconds else None

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"ratio": self.ratio}


class Started(NamedTuple):
    """A case is about to run."""

    number: int
    total: int
    case: Case


class Note(NamedTuple):
    """Something was left out; the sentence says why."""

    sentence: str


class Difference(NamedTuple):
    """Both sides compute different numbers, so the case was not timed."""

    sentence: str


Event = Started | Row | Note | Difference


def plan(
    suite: str = "all", only: Sequence[str] = (), *, against: str = "torch", repeat: int | None = None,
    memory: bool = True, compiled: bool = False,
) -> Plan:
    """The plan for a suite or ``all`` of them; ``only`` keeps cases whose title has one of these texts.

    Raises :class:`UsageError` for a name that does not exist, and where nothing is left.

    >>> [case.title for case in plan("attention", ["N=2304"]).cases]
    ['position_attention N=2304 64/512', 'channel_attention N=2304 512', 'scale_fusion N=2304 2×19']
    """
    if suite not in (*SUITES, "all"):
        raise UsageError(f"There is no suite {suite!r}: choose from {', '.join(SUITES)}, all.")
    if against not in PEERS:
        raise UsageError(f"There is no peer {against!r}: choose from {', '.join(PEERS)}.")
    cases = [case for name, make in SUITES.items() if suite in (name, "all") for case in make()]
    if not memory:
        cases = [case for case in cases if not case.once]
    if only:
        cases = [case for case in cases if any(text in case.title for text in only)]
    if not cases:
        wanted = f" with {' or '.join(map(repr, only))} in its title" if only else " that measures no memory"
        raise UsageError(f"The suite {suite} has no case{wanted}: `segattn bench --list` has all.")
    return Plan(cases, against, repeat, memory, compiled)


def run(ops: Ops, plan: Plan, peak: float) -> Iterator[Event]:
    """Time the backend ``ops`` as planned, where a matrix product reaches ``peak`` GFLOP/s."""
    for number, case in enumerate(plan.cases):
        yield Started(number, len(plan.cases), case)
        if case.once:
            yield from _run_once(ops, case, plan, peak)
        else:
            yield from _run(ops, case, plan, peak)


class Chosen(NamedTuple):
    """The fastest way of the peer to do a group of works, so far."""

    total: float  # seconds of the group
    seconds: Seconds  # of each work
    name: str
    side: Side


def _run(ops: Ops, case: Case, plan: Plan, peak: float) -> Iterator[Event]:
    ours = case.ours(ops)
    first = run_once(ours)
    results = ours.results()
    best: dict[str, Chosen] = {}
    for name, make in peer_sides(case, plan.against, compiled=plan.compiled):
        if sentence := _too_large(case, name):
            yield Note(sentence)
            continue
        try:
            side = make()
            seconds = run_once(side)
        except Exception as error:  # of many kinds: no memory, no kernel, no compiler
            yield Note(f"{case.title}: {name} cannot run: {_first_line(error)}")
            continue
        if problem := case.difference(results, side.results()):
            yield Difference(f"{case.title} is not timed: {problem} beside {name}.")
            return
        seconds = trial(side, seconds)
        for group in case.groups:
            total = sum(seconds[work] for work in group)
            if group[0] not in best or total < best[group[0]].total:
                best |= dict.fromkeys(group, Chosen(total, seconds, name, side))
        del side
    del results
    their_first = {work: way.seconds[work] for work, way in best.items()}
    if plan.repeat is None and sum(first.values()) + sum(their_first.values()) > LONG:
        our_timings, their_timings = timings_once(first), timings_once(their_first)
    else:
        our_timings, their_timings = in_turns(ours, {work: way.side for work, way in best.items()}, plan.repeat)
    names = {work: way.name for work, way in best.items()}
    del ours, best
    our_peaks, their_peaks = yield from _peaks(ops, case, plan, names)
    for work, operations in case.operations().items():
        yield _row(
            case, work, operations, peak, our_timings[work], our_peaks.get(work), _peer(plan, names.get(work)),
            their_timings.get(work), their_peaks.get(work),
        )  # fmt: skip


def _run_once(ops: Ops, case: Case, plan: Plan, peak: float) -> Iterator[Event]:
    """A case too large for turns: each side, in each of its ways, runs once in a process of its own."""
    ours = measure_afresh(Request(case, ops.name))
    found: dict[str, Answer] = {}
    for name, _ in peer_sides(case, plan.against, compiled=False):
        try:
            found[name] = measure_afresh(Request(case, ops.name, plan.against, name))
        except MeasurementError as error:
            yield Note(f"{case.title}: {name} cannot run: {error}")
            continue
        if problem := case.difference(ours.sample, found[name].sample):
            yield Difference(f"{case.title} is not timed: {problem} beside {name}.")
            return
    for work, operations in case.operations().items():
        peaks = {name: answer.peaks[work] for name, answer in found.items()}
        best = min(peaks, key=lambda name: peaks[name].seconds) if peaks else None
        theirs = peaks[best] if best else None
        yield _row(
            case, work, operations, peak, Timing.of([ours.peaks[work].seconds]), ours.peaks[work],
            _peer(plan, best), Timing.of([theirs.seconds]) if theirs else None, theirs,
        )  # fmt: skip


def _peer(plan: Plan, way: str | None) -> str | None:
    return way if way is None or way == plan.against else f"{plan.against} {way}"


def _row(
    case: Case, work: str, operations: int | None, peak: float, timing: Timing, ours: Peak | None,
    peer: str | None, peer_timing: Timing | None, theirs: Peak | None,
) -> Row:
    gflops = operations / timing.seconds / 1e9 if operations else None
    return Row(
        case.suite, case.subject, work, case.shape, case.dtype, timing.seconds, timing.spread, timing.rounds,
        gflops=gflops,
        peak_share=gflops / peak if gflops else None,
        extra_bytes=ours.extra_bytes if ours else None,
        process_bytes=ours.process_bytes if ours else None,
        peer=peer,
        peer_seconds=peer_timing.seconds if peer_timing else None,
        peer_spread=peer_timing.spread if peer_timing else None,
        peer_extra_bytes=theirs.extra_bytes if theirs else None,
        peer_process_bytes=theirs.process_bytes if theirs else None,
    )  # fmt: skip


def _peaks(
    ops: Ops, case: Case, plan: Plan, ways: Mapping[str, str]
) -> Generator[Note, None, tuple[dict[str, Peak], dict[str, Peak]]]:
    """Our peaks and the peer's by work; ``ways`` has the way in which the peer does each."""
    ours: dict[str, Peak] = {}
    theirs: dict[str, Peak] = {}
    if not plan.memory or ops.name == "cupy":  # whose memory is the device's
        return ours, theirs
    try:
        ours = measure_afresh(Request(case, ops.name)).peaks
        for way in dict.fromkeys(ways.values()):
            peaks = measure_afresh(Request(case, ops.name, plan.against, way)).peaks
            theirs |= {work: peaks[work] for work in ways if ways[work] == way}
    except MeasurementError as error:
        yield Note(f"{case.title}: the memory could not be measured: {error}.")
    return ours, theirs


def _too_large(case: Case, way: str) -> str:
    """A sentence where the peer's ``way`` would need more memory than is free; or ""."""
    needed, free = case.peer_bytes.get(way, 0) / 1e9, gigabytes("MemAvailable")
    if free is None or needed <= free:
        return ""
    return f"{case.title}: {way} is left out, it needs about {needed:.0f} GB of memory and {free:.0f} are free."


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
