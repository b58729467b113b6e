"""Turns: which of a peer's ways is the fastest, and both sides one after the other, on a clock of the device's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from segattn_cli.benchmarking.benchmark import Implementation

#: Seconds that the timed rounds of one case may take, where nobody says how many.
BUDGET = 5.0
FEWEST, MOST = 3, 15
#: Once so many seconds are gone, a round that is done is the last one, even before there are the fewest. Where the
#: first runs take longer, they are all there is.
LONG = 30.0

#: For so many seconds a side runs untimed when its turn comes: the threads of the other side still spin for a
#: while, waiting for more to do, and its own have to wake up. What takes longer than ``SHORT`` does not notice.
LEAD_IN = 0.03
SHORT = 1.0

#: Queueing is looked at so many times; the least counts.
QUEUED = 3

Seconds = dict[str, float]  # by work
#: Seconds that a call takes, until all is done that it asked for.
Clock = Callable[[Callable[[], None]], float]


class Timing(NamedTuple):
    """The times of one work over several rounds."""

    seconds: float  # the median
    spread: float  # the median distance from it
    rounds: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """
        >>> Timing.of([1.0, 3.0, 1.5])
        Timing(seconds=1.5, spread=0.5, rounds=3)
        """
        median = statistics.median(seconds)
        return cls(median, statistics.median(abs(each - median) for each in seconds), len(seconds))


def timed(function: Callable[[], None]) -> float:
    """Seconds of one call: the clock of the host."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def run_once(side: Implementation, clock: Clock = timed) -> Seconds:
    """Every work of ``side`` in order, each timed by itself."""
    return {work: clock(function) for work, function in side.works.items()}


def trial(side: Implementation, warm_up: Seconds, clock: Clock = timed) -> Seconds:
    """What ``side`` takes once it is warm, roughly: the least of a few runs, or of none where each is long."""
    total = sum(warm_up.values())
    runs = 3 if total < SHORT else 1 if total < BUDGET else 0
    if total < SHORT:
        _lead_in(side, clock)
    seconds = [run_once(side, clock) for _ in range(runs)] or [warm_up]
    return min(seconds, key=lambda each: sum(each.values()))


def is_enough(rounds: int, elapsed: float, repeat: int | None) -> bool:
    """Whether so many rounds, which took so long, are enough.

    >>> is_enough(3, 6.0, None), is_enough(2, 6.0, None), is_enough(1, 40.0, None), is_enough(15, 0.1, None)
    (True, False, True, True)
    """
    if repeat is not None:
        return rounds >= repeat
    return rounds >= MOST or elapsed >= (BUDGET if rounds >= FEWEST else LONG)


def in_turns(
    ours: Implementation, theirs: Mapping[str, Implementation], repeat: int | None = None, clock: Clock = timed
) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Time our side and theirs, by work, round after round: ours, theirs, ours, theirs, …

    ``theirs`` has the side that does each work; one that does several of them does them in one go.
    """
    seconds: dict[int, dict[str, list[float]]] = {}
    turns = [(ours, list(ours.works))]
    for side in {id(side): side for side in theirs.values()}.values():
        turns.append((side, [work for work, own in theirs.items() if own is side]))
    rounds, start = 0, time.perf_counter()
    while not is_enough(rounds, time.perf_counter() - start, repeat):
        for number, (side, works) in enumerate(turns):
            own = seconds.setdefault(number, {work: [] for work in works})
            if rounds and sum(each[-1] for each in own.values()) < SHORT:
                _lead_in(side, clock)
            for work in works:
                own[work].append(clock(side.works[work]))
        rounds += 1
    our_seconds, *their_seconds = seconds.values()
    return _timings(our_seconds), _timings({work: each for own in their_seconds for work, each in own.items()})


def timings_once(seconds: Seconds) -> dict[str, Timing]:
    """Single runs as timings.

    >>> timings_once({"forward": 20.0})
    {'forward': Timing(seconds=20.0, spread=0.0, rounds=1)}
    """
    return {work: Timing.of([each]) for work, each in seconds.items()}


def until_queued(side: Implementation, works: Iterable[str], queue: Clock) -> Seconds:
    """The seconds after which each of ``works`` is queued, by a clock that does not wait for the device."""
    rounds = [{work: queue(side.works[work]) for work in works} for _ in range(QUEUED)]
    return {work: min(each[work] for each in rounds) for work in rounds[0]}


def _lead_in(side: Implementation, clock: Clock) -> None:
    start = time.perf_counter()
    while time.perf_counter() - start < LEAD_IN:
        run_once(side, clock)


def _timings(seconds: Mapping[str, Sequence[float]]) -> dict[str, Timing]:
    return {work: Timing.of(each) for work, each in seconds.items()}
