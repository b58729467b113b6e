"""Timing on the clock of a device: trials of variants, and two implementations in alternation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from segattn_cli.benchmarking.benchmark import Implementation

#: Seconds for the timed rounds of one benchmark, where their number is not given.
BUDGET = 5.0
FEWEST, MOST = 3, 15
#: After so many seconds no further round starts, even below the fewest. Where the first runs take longer, they are
#: the only ones.
LONG = 30.0

#: For so many seconds an implementation runs untimed before its turn: the other one's threads still spin for a
#: while, waiting for more to do, and its own have to wake up. Longer passes than ``SHORT`` need no lead-in.
LEAD_IN = 0.03
SHORT = 1.0

#: Queueing is timed so often; the least counts.
QUEUED = 3

Seconds = dict[str, float]  # by pass
#: Seconds that a call takes, until all is done that it asked for.
Clock = Callable[[Callable[[], None]], float]


class Timing(NamedTuple):
    """The times of one pass over several rounds."""

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


def run_once(implementation: Implementation, clock: Clock = timed) -> Seconds:
    """The seconds of each pass of ``implementation``, in order."""
    return {name: clock(function) for name, function in implementation.passes.items()}


def trial(implementation: Implementation, warm_up: Seconds, clock: Clock = timed) -> Seconds:
    """Roughly the seconds after the warm-up: the least of a few runs, or ``warm_up`` itself if each is long."""
    total = sum(warm_up.values())
    runs = 3 if total < SHORT else 1 if total < BUDGET else 0
    if total < SHORT:
        _lead_in(implementation, clock)
    seconds = [run_once(implementation, clock) for _ in range(runs)] or [warm_up]
    return min(seconds, key=lambda each: sum(each.values()))


def is_enough(rounds: int, elapsed: float, repeat: int | None) -> bool:
    """Whether so many rounds, which took so long, are enough.

    >>> is_enough(3, 6.0, None), is_enough(2, 6.0, None), is_enough(1, 40.0, None), is_enough(15, 0.1, None)
    (True, False, True, True)
    """
    if repeat is not None:
        return rounds >= repeat
    return rounds >= MOST or elapsed >= (BUDGET if rounds >= FEWEST else LONG)


def alternate(
    ours: Implementation, theirs: Mapping[str, Implementation], repeat: int | None = None, clock: Clock = timed
) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """The times by pass of our implementation and of theirs, in alternating rounds: ours, theirs, ours, theirs, …

    ``theirs`` has an implementation for each pass; one that is there for several runs them together.
    """
    seconds: dict[int, dict[str, list[float]]] = {}
    turns = [(ours, list(ours.passes))]
    for implementation in {id(each): each for each in theirs.values()}.values():
        turns.append((implementation, [name for name, each in theirs.items() if each is implementation]))
    rounds, start = 0, time.perf_counter()
    while not is_enough(rounds, time.perf_counter() - start, repeat):
        for number, (implementation, passes) in enumerate(turns):
            own = seconds.setdefault(number, {name: [] for name in passes})
            if rounds and sum(each[-1] for each in own.values()) < SHORT:
                _lead_in(implementation, clock)
            for name in passes:
                own[name].append(clock(implementation.passes[name]))
        rounds += 1
    our_seconds, *their_seconds = seconds.values()
    return _timings(our_seconds), _timings({name: each for own in their_seconds for name, each in own.items()})


def timings_once(seconds: Seconds) -> dict[str, Timing]:
    """Single runs as timings.

    >>> timings_once({"forward": 20.0})
    {'forward': Timing(seconds=20.0, spread=0.0, rounds=1)}
    """
    return {name: Timing.of([each]) for name, each in seconds.items()}


def until_queued(implementation: Implementation, passes: Iterable[str], queue: Clock) -> Seconds:
    """The seconds until each of ``passes`` is queued, by a clock that does not wait for the device."""
    rounds = [{name: queue(implementation.passes[name]) for name in passes} for _ in range(QUEUED)]
    return {name: min(each[name] for each in rounds) for name in rounds[0]}


def _lead_in(implementation: Implementation, clock: Clock) -> None:
    start = time.perf_counter()
    while time.perf_counter() - start < LEAD_IN:
        run_once(implementation, clock)


def _timings(seconds: Mapping[str, Sequence[float]]) -> dict[str, Timing]:
    return {name: Timing.of(each) for name, each in seconds.items()}
