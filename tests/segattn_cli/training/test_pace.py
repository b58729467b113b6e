"""The estimate of the time that is left, on a clock that the test turns."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from segattn_cli.training import pace
from segattn_cli.training.pace import RECENT, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [50.0]
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def laps(stopwatch: Pace, clock: list[float], *seconds: float, steps: int = 1) -> list[float]:
    measured = []
    for each in seconds:
        clock[0] += each
        measured.append(stopwatch.lap(steps))
    return measured


def test_the_compilation_in_the_first_step_is_left_out(clock: list[float]) -> None:
    stopwatch = Pace()
    assert laps(stopwatch, clock, 300.0) == [300.0]
    assert math.isnan(stopwatch.seconds_for(700))
    assert laps(stopwatch, clock, 2.0) == [2.0]
    assert stopwatch.seconds_for(700) == 1400.0
    laps(stopwatch, clock, 2.0, 40.0, 2.0)  # a slow one now and then changes nothing
    assert stopwatch.seconds_for(700) == 1400.0
    assert stopwatch.seconds_for(0) == 0.0


def test_steps_that_are_read_together_share_the_time(clock: list[float]) -> None:
    stopwatch = Pace()
    laps(stopwatch, clock, 60.0)
    assert laps(stopwatch, clock, 10.0, steps=20) == [0.5]
    assert stopwatch.seconds_for(4) == 2.0


def test_the_estimate_follows_recent_steps_and_leaves_out_what_came_between(clock: list[float]) -> None:
    stopwatch = Pace()
    laps(stopwatch, clock, 9.0, *[1.0] * RECENT)
    clock[0] += 1000.0  # a validation
    stopwatch.restart()
    laps(stopwatch, clock, *[3.0] * (RECENT // 2 + 1))
    assert stopwatch.seconds_for(1) == 3.0


def test_without_a_single_step_only_nothing_is_left(clock: list[float]) -> None:
    assert Pace().seconds_for(0) == 0.0
