"""The scale of the loss: found by steps that overflow, and never looked at on the way."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest

import backends.reference
from segattn_cli.errors import NonFiniteError
from segattn_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from segattn_cli.training import StepDone, train
from segattn_cli.training.loss_scale import GOOD_STEPS, MOST, START, LossScale, Unscaled
from segattn_cli.training.step import to_numbers

from .unread import device_ops, unread


def by_hand(outcomes, scale=START, good=0, skipped=0):
    """Scale, good steps in a row and skipped steps after each of ``outcomes``, in plain Python."""
    for finite in outcomes:
        if not finite:
            scale, good, skipped = scale / 2, 0, skipped + 1
        else:
            good += 1
            if good >= GOOD_STEPS and scale < MOST:
                scale, good = 2 * scale, 0
        yield finite, scale, good, skipped


def outcomes_of(kind, rng):
    if kind == "mixed":
        return [bool(finite) for finite in rng.random(9000) > 1 / 3000]
    return [True] * (GOOD_STEPS * 10) if kind == "good" else [False] * 5 + [True] * (2 * GOOD_STEPS) + [False]


@pytest.mark.parametrize("kind", ["mixed", "good", "bad first"])
def test_the_scale_goes_up_and_down_as_the_rule_says(rng, kind):
    scaler = LossScale(backends.reference)
    outcomes = outcomes_of(kind, rng)
    for wanted in by_hand(outcomes):
        counts = scaler.accept(np.bool_(wanted[0]))
        found = (bool(counts), float(scaler.scale), float(scaler.good_steps), float(scaler.skipped))
        assert found == wanted
    assert scaler.scale.dtype == np.float32  # a float64 would make one of what is multiplied by it
    assert float(scaler.scale) == MOST or kind != "good"


def test_below_one_no_step_counts():
    scaler = LossScale(backends.reference, scale=2.0)
    assert [bool(scaler.accept(np.bool_(finite))) for finite in (True, False, True, False, True, True)] == [
        True, False, True, False, False, False,
    ]  # fmt: skip
    assert float(scaler.scale) == 0.5


def test_it_goes_on_from_what_was_kept(rng):
    whole, first = LossScale(backends.reference), LossScale(backends.reference)
    outcomes = rng.random(5000) > 1 / 1500
    for finite in outcomes:
        whole.accept(finite)
    for finite in outcomes[:2600]:
        first.accept(finite)
    kept = json.loads(json.dumps(to_numbers(backends.reference, first.state())))
    second = LossScale(backends.reference, **kept)
    for finite in outcomes[2600:]:
        second.accept(finite)
    assert to_numbers(backends.reference, second.state()) == to_numbers(backends.reference, whole.state())


def test_nothing_is_waited_for_and_what_was_is_kept():
    ops = device_ops()
    scaler, before = LossScale(ops), []
    for finite in (True, False, False):
        before.append(scaler.state())
        scaler.accept(unread(np.bool_(finite)))
    with pytest.raises(AssertionError, match="waited"):
        bool(scaler.scale)
    assert [to_numbers(ops, state)["scale"] for state in before] == [START, START, START / 2]
    assert to_numbers(ops, scaler.state()) == {"scale": START / 4, "good_steps": 0, "skipped": 2}


def test_without_a_scale_nothing_counts_after_the_first_that_is_not_finite():
    scaler = Unscaled()
    assert [bool(scaler.accept(np.bool_(finite))) for finite in (True, True, False, True)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert scaler.scale == 1.0
    assert scaler.state() == {}


@pytest.fixture
def half(tiny, monkeypatch):
    """``half(out, *overrides, largest=…, **how)``: train as in float16, in float32 and with :func:`device_ops`."""

    def run(out, *overrides, largest=np.inf, **how):
        monkeypatch.setattr("segattn_cli.training.setup.get_backend", lambda *_: device_ops(largest))
        for module in ("training.setup", "prediction.predictor"):
            monkeypatch.setattr(f"segattn_cli.{module}.array_dtype", lambda _: np.dtype(np.float32))
        return train(tiny("training.precision=float16", *overrides), out, **how)

    return run


def arrays(run):
    return load_checkpoint(run / "last.safetensors").arrays


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []


@pytest.mark.parametrize("changes", [["training.ema=0.9"], ["optimiser.clip_norm=0.5"]])
def test_a_power_of_two_changes_no_bit(tiny, half, tmp_path, changes):
    plain = [each for each in train(tiny(*changes), tmp_path / "plain") if isinstance(each, StepDone)]
    scaled = [each for each in half(tmp_path / "scaled", *changes) if isinstance(each, StepDone)]
    assert_same(arrays(tmp_path / "plain"), arrays(tmp_path / "scaled"))
    for one, other in zip(plain, scaled, strict=True):
        assert (one.loss, one.parts, one.gradient_norm) == (other.loss, other.parts, other.gradient_norm)
        assert (one.loss_scale, one.skipped, other.loss_scale, other.skipped) == (None, 0, START, 0)


@pytest.mark.parametrize("read_every", [1, 4])
def test_steps_that_overflow_are_skipped_and_counted(half, tmp_path, read_events, read_every):
    run = tmp_path / "run"
    events = list(half(run, largest=2.0**14, read_every=read_every))
    steps = [each for each in events if isinstance(each, StepDone)]
    assert [each.step for each in steps] == list(range(1, 13))
    assert [each.skipped for each in steps] == [1, 2] + [2] * 10
    assert [each.loss_scale for each in steps] == [2.0**15] + [2.0**14] * 11
    assert [np.isfinite(each.gradient_norm) for each in steps] == [False] * 2 + [True] * 10
    logged = read_events(run, "step")
    assert [each["skipped"] for each in logged] == [1, 2] + [2] * 10
    assert [each["gradient_norm"] is None for each in logged] == [True] * 2 + [False] * 10  # JSON has no infinity
    kept = load_checkpoint(run / "last.safetensors").metadata["progress"]["loss_scale"]
    assert kept == {"scale": 2.0**14, "good_steps": 10, "skipped": 2}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_skipped_step_moves_nothing(half, tmp_path, optimiser):
    """Neither weights nor the optimiser's state, the statistics of batch norms or the average of the weights."""
    run, calls, changes = tmp_path / "run", count(), ("training.ema=0.9", f"optimiser.kind={optimiser}")
    list(half(run, *changes, should_stop=lambda: next(calls) >= 4))
    before = arrays(run)
    list(half(run, *changes, "training.max_steps=6", largest=0.0, resume=True))
    assert load_checkpoint(run / "last.safetensors").metadata["progress"]["loss_scale"]["skipped"] == 2
    assert_same(before, arrays(run))


def test_the_scale_is_taken_up_where_it_was(half, tmp_path):
    whole, run, calls = tmp_path / "whole", tmp_path / "run", count()
    list(half(whole, largest=2.0**13))
    list(half(run, largest=2.0**13, should_stop=lambda: next(calls) >= 5))
    resumed = list(half(run, largest=2.0**13, resume=True))
    assert [each.skipped for each in resumed if isinstance(each, StepDone)] == [3] * 7
    assert_same(arrays(whole), arrays(run))
    kept = [load_checkpoint(each / "last.safetensors").metadata["progress"]["loss_scale"] for each in (whole, run)]
    assert kept == [{"scale": 2.0**13, "good_steps": 9, "skipped": 3}] * 2


@pytest.mark.slow
def test_a_run_may_go_on_in_another_precision(half, tiny, tmp_path):
    run = tmp_path / "run"
    list(train(tiny("training.epochs=1"), run))
    steps = [each for each in half(run, resume=True) if isinstance(each, StepDone)]
    assert [(each.step, each.loss_scale) for each in steps] == [(step, START) for step in range(7, 13)]
    steps = [each for each in train(tiny("training.epochs=3"), run, resume=True) if isinstance(each, StepDone)]
    assert [(each.step, each.loss_scale) for each in steps] == [(step, None) for step in range(13, 19)]
    assert load_checkpoint(run / "last.safetensors").metadata["progress"]["loss_scale"] == {}


def test_a_checkpoint_from_before_there_was_a_scale_is_taken_up(half, tiny, tmp_path):
    run = tmp_path / "run"
    list(train(tiny("training.epochs=1"), run))
    before = load_checkpoint(run / "last.safetensors")
    del before.metadata["progress"]["loss_scale"]
    save_checkpoint(run / "last.safetensors", before.arrays, before.metadata)
    steps = [each for each in half(run, resume=True) if isinstance(each, StepDone)]
    assert [(each.step, each.loss_scale) for each in steps] == [(step, START) for step in range(7, 13)]


@pytest.mark.parametrize("read_every", [1, 5])
def test_when_no_scale_helps_training_ends_and_the_checkpoint_stays(half, tmp_path, read_events, read_every):
    run = tmp_path / "run"
    changes = ("training.epochs=4", "training.checkpoint_every=1000")
    calls = count()
    list(half(run, *changes, should_stop=lambda: next(calls) >= 3))
    before = (run / "last.safetensors").read_bytes()
    seen = []
    resumed = half(run, *changes, "evaluation.every=9", largest=0.0, resume=True, read_every=read_every)
    with pytest.raises(NonFiniteError, match=r"Step 20 is not finite: .* is the gradient of .* is kept"):
        seen.extend(event for event in resumed if isinstance(event, StepDone))
    assert [event.step for event in seen] == list(range(4, 20))
    assert [event.skipped for event in seen] == list(range(1, 17))
    assert seen[-1].loss_scale == 1.0
    assert read_events(run, "non_finite")[-1]["step"] == 20
    assert (run / "last.safetensors").read_bytes() == before
