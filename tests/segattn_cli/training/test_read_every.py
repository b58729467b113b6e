"""When the figures of steps are read changes nothing else: weights, events, checkpoints, errors."""

from __future__ import annotations

from dataclasses import asdict
from itertools import count

import numpy as np
import pytest

from segattn_cli.errors import DataError, NonFiniteError
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training import Interrupted, RunFinished, StepDone, train
from segattn_cli.training.gradients import Differentiator

from .unread import device_ops

#: Of a clock, or of the process; what else an event says is of the training.
TIMED = {"seconds", "wait_share", "images_per_second", "memory", "seconds_left"}
EVERYTHING = ("training.ema=0.9", "optimiser.clip_norm=0.5", "optimiser.accumulate=2", "training.epochs=4")


def steps_of(events):
    """What each step said, but for what a clock says."""
    done = [asdict(event) for event in events if isinstance(event, StepDone)]
    return [{key: value for key, value in event.items() if key not in TIMED} for event in done]


def assert_same_weights(one, other):
    for name in ("last", "best"):
        a, b = (load_checkpoint(run / f"{name}.safetensors").arrays for run in (one, other))
        assert a.keys() == b.keys()
        assert [key for key in a if a[key].tobytes() != b[key].tobytes()] == []


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """A run that reads every step, and its events."""
    out = tmp_path_factory.mktemp("runs") / "plain"
    return out, list(train(tiny(*EVERYTHING), out, read_every=1))


@pytest.mark.parametrize(
    ("read_every", "changes"),
    [(2, ()), (5, ("training.checkpoint_every=4",)), (1000, ()), (1000, ("training.backend=numpy",))],
)
def test_nothing_depends_on_it(plain, tiny, tmp_path, read_events, read_every, changes):
    out, events = plain
    if "training.backend=numpy" in changes:
        out = tmp_path / "other backend"
        events = list(train(tiny(*EVERYTHING, *changes), out))
    run = tmp_path / "run"
    read = list(train(tiny(*EVERYTHING, *changes), run, read_every=read_every))
    assert steps_of(read) == steps_of(events)
    assert len(steps_of(read)) == 12
    assert_same_weights(out, run)
    for kind in ("step", "validated"):
        logged = [[{k: v for k, v in each.items() if k not in TIMED} for each in read_events(r, kind)]
                  for r in (out, run)]  # fmt: skip
        assert logged[0] == logged[1]


def test_a_step_does_not_wait_for_the_device(plain, tiny, tmp_path, monkeypatch):
    out, events = plain
    monkeypatch.setattr("segattn_cli.training.setup.get_backend", lambda *_: device_ops())
    read = list(train(tiny(*EVERYTHING), tmp_path / "run", read_every=1000))
    assert steps_of(read) == steps_of(events)
    assert_same_weights(out, tmp_path / "run")


@pytest.mark.parametrize(("backend", "together"), [("cupy", 3), ("reference", 1)])
def test_a_gpu_is_read_as_often_as_it_is_logged(tiny, tmp_path, monkeypatch, backend, together):
    ops = device_ops()
    ops.name = backend
    monkeypatch.setattr("segattn_cli.training.setup.get_backend", lambda *_: ops)
    done = []
    monkeypatch.setattr(Differentiator, "gradients", noting(Differentiator.gradients, done.append))
    behind = []
    for event in train(tiny("training.log_every=3", "training.max_steps=11"), tmp_path / "run"):
        if isinstance(event, StepDone):
            behind.append(len(done) - event.step)
    # Read at step 1, which shows that it goes well; then three together, before a validation, and at the end.
    assert behind == ([0, 2, 1, 0, 1, 0, 2, 1, 0, 1, 0] if together == 3 else [0] * 11)


def noting(gradients, note):
    """``gradients``, told of each step before it is taken."""

    def noted(self, params, batches, step, *args, **options):
        note(step)
        return gradients(self, params, batches, step, *args, **options)

    return noted


@pytest.mark.parametrize("stop_after", [1, 3, 8])
def test_a_stop_reads_and_saves_what_is_done(plain, tiny, tmp_path, read_events, stop_after):
    out, _ = plain
    run, asked = tmp_path / "run", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Differentiator, "gradients", noting(Differentiator.gradients, asked.append))
        first = list(train(tiny(*EVERYTHING), run, should_stop=lambda: len(asked) >= stop_after, read_every=5))
    assert first[-1] == Interrupted(stop_after, run)
    assert [each["step"] for each in steps_of(first)] == list(range(1, stop_after + 1))
    *_, last = train(tiny(*EVERYTHING), run, resume=True, read_every=5)
    assert isinstance(last, RunFinished)
    assert_same_weights(out, run)
    assert [step["step"] for step in read_events(run, "step")] == list(range(1, 13))


def poisoned(gradients, at):
    """``gradients``, for which every picture of one step is infinite."""

    def spoilt(self, params, batches, step, *args, **options):
        if step == at:
            batches = [batch._replace(images=np.full_like(batch.images, np.inf)) for batch in batches]
        return gradients(self, params, batches, step, *args, **options)

    return spoilt


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("read_every", [1, 2, 5])
def test_a_step_that_is_not_finite_ends_training_as_if_it_had_been_read(
    tiny, tmp_path, monkeypatch, read_events, read_every
):
    config = tiny("training.epochs=3", "evaluation.every=9", "training.checkpoint_every=1000")
    run, calls = tmp_path / "run", count()
    list(train(config, run, should_stop=lambda: next(calls) >= 3))
    before = (run / "last.safetensors").read_bytes()

    monkeypatch.setattr(Differentiator, "_passes", poisoned(Differentiator._passes, at=7))
    resumed, seen = train(config, run, resume=True, read_every=read_every), []
    with pytest.raises(NonFiniteError) as error:
        seen.extend(event for event in resumed if isinstance(event, StepDone))
    assert [each.step for each in seen] == [4, 5, 6, 7]
    assert str(error.value).startswith(
        "Step 8 is not finite: the first tensor with a NaN or an infinity is the output of scale 1/backbone."
    )
    assert f"{run}/last.safetensors from before it is kept" in str(error.value)
    assert (run / "last.safetensors").read_bytes() == before
    assert [each["step"] for each in read_events(run, "step")] == list(range(1, 8))
    (logged,) = read_events(run, "non_finite")
    assert logged["step"] == 8


def test_steps_after_it_change_nothing(tiny, tmp_path, monkeypatch):
    """The tensor is named by the weights from before, which later steps of the block must leave alone."""
    monkeypatch.setattr(Differentiator, "_passes", poisoned(Differentiator._passes, at=2))
    names = []
    weights = {}

    def remember(differentiator, params, batches, step, comm):
        names.append(step)
        weights[len(names)] = {name: value.copy() for name, value in params.items()}
        return "a tensor"

    monkeypatch.setattr("segattn_cli.training.find_nan.first_non_finite", remember)
    for read_every in (1, 4):
        with pytest.raises(NonFiniteError, match="a tensor"):
            list(train(tiny("training.ema=0.9"), tmp_path / str(read_every), read_every=read_every))
    assert names == [2, 2]
    for name, value in weights[1].items():
        assert value.tobytes() == weights[2][name].tobytes(), name


@pytest.mark.filterwarnings("error")
def test_a_gate_that_runs_away_is_named_as_if_it_had_been_read(tiny, tmp_path):
    sentences = []
    for read_every in (1, 3):
        run, calls = tmp_path / str(read_every) / "run", count()
        list(train(tiny(), run, should_stop=lambda calls=calls: next(calls) >= 2))
        fast = tiny("optimiser.learning_rate=1e38", "optimiser.head_multiplier=1e9", "schedule.warmup_steps=0")
        with pytest.raises(NonFiniteError, match=r"Step 3 is .* is the parameter head\.\w+\.gate") as error:
            list(train(fast, run, resume=True, read_every=read_every))
        sentences.append(str(error.value).replace(str(run), "run"))
    assert sentences[0] == sentences[1]


@pytest.mark.parametrize("read_every", [1, 5])
def test_a_picture_that_goes_bad_leaves_every_step_before_it_told_and_saved(
    tiny, tmp_path, folder, rng, read_events, read_every
):
    labels = [rng.integers(0, 3, (24, 32)) for _ in range(8)]
    data = folder("pictures", {"train": labels, "val": labels[:1]})
    config = tiny(f"data.source={data}", "training.epochs=3")
    running, seen = train(config, tmp_path / "run", read_every=read_every), []
    for event in running:
        if isinstance(event, StepDone) and event.step == 4:  # the end of the first epoch
            break
    (data / "images" / "train" / "5.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"5\.png"):
        seen.extend(event.step for event in running if isinstance(event, StepDone))
    saved = load_checkpoint(tmp_path / "run" / "last.safetensors").metadata["progress"]["step"]
    assert saved == read_events(tmp_path / "run", "step")[-1]["step"] == max(seen) > 4


def test_a_tensor_that_cannot_be_looked_for_costs_no_checkpoint(tiny, tmp_path, folder, rng, monkeypatch):
    """Steps after the bad one have been counted, but changed nothing: they must not be saved as done."""
    labels = [rng.integers(0, 3, (24, 32)) for _ in range(8)]
    data = folder("pictures", {"train": labels, "val": labels[:1]})
    config = tiny(f"data.source={data}", "evaluation.every=9", "training.epochs=3")
    run, calls = tmp_path / "run", count()
    list(train(config, run, should_stop=lambda: next(calls) >= 3))
    before = (run / "last.safetensors").read_bytes()

    def spoil(step):
        if step == 6:
            for picture in (data / "images" / "train").iterdir():
                picture.write_bytes(b"no picture")

    gradients = poisoned(Differentiator._passes, at=5)
    monkeypatch.setattr(Differentiator, "_passes", noting(gradients, spoil))
    with pytest.raises(NonFiniteError, match=r"Step 6 is not finite: .* its images cannot be read"):
        list(train(config, run, resume=True, read_every=2))
    assert (run / "last.safetensors").read_bytes() == before
