"""The clock: turns, medians, and how often."""

from __future__ import annotations

import time

import pytest

from segattn_cli.benchmarking import timing
from segattn_cli.benchmarking.timing import FEWEST, LONG, MOST, Timing, alternate, is_enough, run_once, timed, trial


@pytest.fixture(autouse=True)
def lead_in(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """None, or turns would be hard to count."""
    monkeypatch.setattr(timing, "LEAD_IN", getattr(request, "param", 0.0))


def test_both_implementations_take_turns(toy, log) -> None:
    theirs = toy("theirs")
    alternate(toy(), dict.fromkeys(("forward", "backward"), theirs), repeat=2)
    one_round = [(whose, name) for whose in ("ours", "theirs") for name in ("forward", "backward")]
    assert log == one_round * 2


@pytest.mark.parametrize("lead_in", [0.01], indirect=True)
def test_a_short_side_runs_untimed_before_its_turn(toy, log) -> None:
    ours, theirs = alternate(toy(), {"forward": toy("theirs")}, repeat=3)
    assert (ours["forward"].rounds, theirs["forward"].rounds) == (3, 3)
    assert log.count(("ours", "forward")) > 10
    assert log.count(("theirs", "backward")) > 10  # the implementation as a whole


@pytest.mark.parametrize("lead_in", [0.01], indirect=True)
def test_a_long_side_does_not(toy, log, monkeypatch) -> None:
    monkeypatch.setattr(timing, "SHORT", 0.0)
    alternate(toy(), {}, repeat=3)
    assert log.count(("ours", "forward")) == 3


def test_a_peer_may_do_each_pass_in_another_variant(toy, log) -> None:
    passes = {"train": 0.0, "infer": 0.0}
    alternate(toy("ours", passes), {"train": toy("a", passes), "infer": toy("b", passes)}, repeat=1)
    assert log == [("ours", "train"), ("ours", "infer"), ("a", "train"), ("b", "infer")]


def test_each_pass_is_timed_by_itself(toy) -> None:
    slow = toy("theirs", {"forward": 0.03, "backward": 0.0})
    ours, theirs = alternate(toy(), dict.fromkeys(slow.passes, slow), repeat=3)
    assert theirs["forward"].seconds >= 0.03 > 0.01 > theirs["backward"].seconds
    assert ours["forward"].seconds < 0.01
    assert ours["forward"].rounds == theirs["backward"].rounds == 3


def test_the_clock_of_the_host() -> None:
    assert timed(lambda: time.sleep(0.01)) >= 0.01


def test_there_may_be_no_baseline(toy) -> None:
    ours, theirs = alternate(toy(), {}, repeat=2)
    assert set(ours) == {"forward", "backward"}
    assert theirs == {}


def test_the_median_and_the_median_distance_from_it() -> None:
    assert Timing.of([5.0, 1.0, 2.0, 100.0, 3.0]) == Timing(3.0, 2.0, 5)


@pytest.mark.parametrize(
    ("rounds", "elapsed", "repeat", "enough"),
    [
        (FEWEST - 1, 6.0, None, False),
        (FEWEST, 6.0, None, True),
        (FEWEST, 1.0, None, False),
        (MOST, 0.1, None, True),
        (0, 0.0, None, False),
        (1, LONG + 1, None, True),
        (1, LONG + 1, 2, False),
        (2, 0.0, 2, True),
    ],
)
def test_how_many_rounds_are_enough(rounds, elapsed, repeat, enough) -> None:
    assert is_enough(rounds, elapsed, repeat) == enough


def test_short_works_are_tried_more_often_than_long_ones(toy, log) -> None:
    implementation = toy()
    assert set(trial(implementation, {"forward": 0.01, "backward": 0.01})) == {"forward", "backward"}
    assert log.count(("ours", "forward")) == 3
    assert trial(implementation, {"forward": 60.0, "backward": 1.0}) == {"forward": 60.0, "backward": 1.0}
    assert log.count(("ours", "forward")) == 3


def test_passes_run_in_order(toy, log) -> None:
    run_once(toy())
    assert log == [("ours", "forward"), ("ours", "backward")]
