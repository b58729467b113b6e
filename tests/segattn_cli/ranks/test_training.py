"""A training on several ranks is that on one: weights, events, errors, to the bit."""

from __future__ import annotations

import threading
from dataclasses import asdict

import numpy as np
import pytest

from segattn_cli.config import load_config
from segattn_cli.errors import ConfigError, DataError, NonFiniteError, OutputError
from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training import Interrupted, RunFinished, StepDone, StoppedEarly, Validated, train
from segattn_cli.training.gradients import Differentiator

from .thread_ranks import on_threads

TINY = (
    "data.scenes={size=[24, 32], train=10, val=3}", "data.workers=1", "network.head_channels=8",
    "network.scale_attention_channels=8", "augmentation.crop=[24, 32]", "schedule.warmup_steps=2",
    "training.batch_size=1", "training.epochs=2", "training.backend=reference", "training.log_every=1",
    "evaluation.every=1", "optimiser.accumulate=4", "training.ema=0.9", "optimiser.clip_norm=0.5",
    "loss.class_weights=median-frequency",
)  # fmt: skip
#: Of a clock, of the process, or of the number of ranks; what else an event says is of the training.
OWN = {
    "seconds", "wait_share", "images_per_second", "memory", "seconds_left", "communication_share",
    "hidden_communication_share", "rank_seconds", "ranks", "out",
}  # fmt: skip


def config_of(*overrides):
    return load_config("tiny-scenes", [*TINY, *overrides])


def trained(config, out, ranks, **options):
    """The events of each rank, or its error after them."""

    def run(comm):
        events = []
        try:
            for event in train(config, out, comm=comm, **options):
                events.append(event)
        except Exception as error:
            events.append(error)
        return events

    return on_threads(ranks, run)


def essentials(events):
    kinds = (StepDone, Validated, StoppedEarly)
    return [
        {key: value for key, value in asdict(event).items() if key not in OWN}
        for event in events if isinstance(event, kinds)
    ]  # fmt: skip


def assert_same_weights(one, other):
    for name in ("last", "best"):
        a, b = (load_checkpoint(run / f"{name}.safetensors") for run in (one, other))
        assert a.arrays.keys() == b.arrays.keys()
        assert [key for key in a.arrays if a.arrays[key].tobytes() != b.arrays[key].tobytes()] == []


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run on one rank, and its events."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    return out, list(train(config_of(), out))


@pytest.mark.parametrize("ranks", [2, 4])
def test_weights_and_events_are_those_of_one_rank(alone, tmp_path, ranks, monkeypatch):
    monkeypatch.setattr("segattn_cli.ranks.sums.BUCKET", 1 << 16)
    out, events = alone
    of_ranks = trained(config_of(), tmp_path / "run", ranks)
    assert_same_weights(out, tmp_path / "run")
    for each in of_ranks:
        assert isinstance(each[-1], RunFinished)
        assert essentials(each) == essentials(events)
        (result,) = (event for event in each[::-1] if isinstance(event, EvaluationResult))
        (wanted,) = (event for event in events[::-1] if isinstance(event, EvaluationResult))
        assert np.array_equal(result.confusion, wanted.confusion)
        assert (result.miou, result.calibration.ece) == (wanted.miou, wanted.calibration.ece)
        assert [example.name for example in result.worst] == [example.name for example in wanted.worst]
    predicted = [[e.done for e in each if isinstance(e, Evaluated) and e.sample] for each in of_ranks]
    assert [len(each) for each in predicted] == ([4, 2] if ranks == 2 else [2, 2, 2, 0])
    (step, *_) = (event for event in of_ranks[0] if isinstance(event, StepDone))
    assert len(step.rank_seconds) == ranks
    assert (tmp_path / "run" / "predictions.png").read_bytes() == (out / "predictions.png").read_bytes()


def test_a_stop_on_one_rank_stops_all_and_other_ranks_go_on(alone, tmp_path):
    out, _ = alone
    taken = []

    def run(comm):
        stop = (lambda: len(taken) >= 1) if comm.rank == 1 else (lambda: False)
        last = None
        for last in train(config_of(), tmp_path / "run", comm=comm, should_stop=stop):
            if isinstance(last, StepDone) and comm.rank == 1:
                taken.append(last.step)
        return last

    assert on_threads(2, run) == [Interrupted(1, tmp_path / "run")] * 2
    for events in trained(config_of(), tmp_path / "run", 4, resume=True):
        assert isinstance(events[-1], RunFinished)
    assert_same_weights(out, tmp_path / "run")


def test_other_ranks_than_divide_a_step_are_refused(tmp_path):
    for events in trained(config_of(), tmp_path / "run", 3):
        (error,) = events
        assert isinstance(error, ConfigError)
        assert "start 1 or 2 or 4 of them, or give each one batch by --set optimiser.accumulate=3" in str(error)
    assert not (tmp_path / "run").exists()


def test_an_unreadable_image_on_one_rank_ends_all_in_one_step(tmp_path, monkeypatch):
    from segattn_cli.data import Loader

    load = Loader._load

    def damaged(self, index):
        if self.epoch == 1 and index == bad:
            raise DataError("9.png cannot be read")
        return load(self, index)

    from segattn_cli.data import stream

    bad = int(stream("order", 0, 1).permutation(10)[7])  # the last of the second step of the second epoch
    monkeypatch.setattr(Loader, "_load", damaged)
    for events in trained(config_of("evaluation.every=9"), tmp_path / "run", 2):
        assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2, 3]
        assert (type(events[-1]), str(events[-1])) == (DataError, "9.png cannot be read")
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").metadata["progress"]["step"] == 3


def test_a_full_disk_on_rank_0_ends_all(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OutputError("no space left")

    monkeypatch.setattr("segattn_cli.training.saving.save_checkpoint", full)
    for events in trained(config_of("training.checkpoint_every=1", "evaluation.every=9"), tmp_path / "run", 2):
        assert [event.step for event in events if isinstance(event, StepDone)] == [1]
        assert (type(events[-1]), str(events[-1])) == (OutputError, "no space left")


@pytest.mark.parametrize("failing", [0, 1])
def test_want_of_memory_on_one_rank_ends_all(tmp_path, monkeypatch, failing):
    passes = Differentiator._passes

    def hungry(self, params, batches, step, fractions, scale, comm, **options):
        if (step, comm.rank) == (failing, 1):
            raise MemoryError("40 GB")
        return passes(self, params, batches, step, fractions, scale, comm, **options)

    monkeypatch.setattr(Differentiator, "_passes", hungry)
    monkeypatch.setattr("segattn_cli.ranks.sums.BUCKET", 1)
    for events in trained(config_of(), tmp_path / "run", 2):
        assert [event.step for event in events if isinstance(event, StepDone)] == [1][:failing]
        assert (type(events[-1]), str(events[-1])) == (MemoryError, "40 GB")


@pytest.mark.parametrize("norms", ["running", "synchronised"])
def test_an_error_in_the_middle_of_backward_ends_all_that_wait_for_gradients(tmp_path, monkeypatch, norms):
    """Rank 1 fails when some of its gradients are on their way."""
    from reference.layers import Context
    from segattn_cli.ranks import sums

    monkeypatch.setattr(sums, "BUCKET", 1)
    accumulate, passes, failing = Context.accumulate, Differentiator._passes, threading.local()
    add_rest, missing = sums.BucketSum.add_rest, []

    def note(self, like):
        missing.append(sum(name not in self for name in like))
        add_rest(self, like)

    def mark(self, params, batches, step, fractions, scale, comm, **options):
        failing.now = (step, comm.rank) == (2, 1)
        return passes(self, params, batches, step, fractions, scale, comm, **options)

    def fail(self, name, gradient):
        if failing.now and name == "backbone.conv2.weight" and name in self.additions and self.finish:
            raise MemoryError("40 GB")
        accumulate(self, name, gradient)

    monkeypatch.setattr(Differentiator, "_passes", mark)
    monkeypatch.setattr(Context, "accumulate", fail)
    monkeypatch.setattr(sums.BucketSum, "add_rest", note)
    config = config_of(f"training.batch_norm={norms}", "evaluation.every=9")
    for events in trained(config, tmp_path / "run", 2):
        assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2]
        assert (type(events[-1]), str(events[-1])) == (MemoryError, "40 GB")
    assert missing[0] != missing[1] or norms == "synchronised"
    assert 0 < max(missing) < 20


def test_a_loss_that_is_not_finite_on_one_rank_names_its_tensor_on_all(tmp_path, monkeypatch):
    passes = Differentiator._passes

    def poisoned(self, params, batches, step, fractions, scale, comm, **options):
        if (step, comm.rank) == (1, 1):
            batches = [batch._replace(images=np.full_like(batch.images, np.inf)) for batch in batches]
        return passes(self, params, batches, step, fractions, scale, comm, **options)

    monkeypatch.setattr(Differentiator, "_passes", poisoned)
    sentences = []
    for events in trained(config_of(), tmp_path / "run", 2):
        assert isinstance(events[-1], NonFiniteError)
        sentences.append(str(events[-1]))
    assert len(set(sentences)) == 1
    assert "Step 2 is not finite: the first tensor with a NaN or an infinity is the output of" in sentences[0]


def test_void_on_one_rank_counts_for_nothing(tmp_path, monkeypatch):
    """Gradients, loss and bits are those of one rank, whose batches of rank 1 are void, too."""
    from segattn_cli.training import batches as module

    whole = module.batches_from

    def void(run, step):
        own = 4 // run.comm.size
        for batches in whole(run, step):
            numbers = range(run.comm.rank * own, (run.comm.rank + 1) * own)
            yield [
                batch._replace(labels=np.full_like(batch.labels, 255)) if number >= 2 else batch
                for number, batch in zip(numbers, batches, strict=True)
            ]

    monkeypatch.setattr("segattn_cli.training.loop.batches_from", void)
    config = config_of("training.max_steps=2", "evaluation.every=9")
    (one,) = trained(config, tmp_path / "one", 1)
    for events in trained(config, tmp_path / "two", 2):
        assert essentials(events) == essentials(one)
    assert_same_weights(tmp_path / "one", tmp_path / "two")
    assert one[1].loss > 0


def test_patience_ends_all(tmp_path):
    config = config_of("training.patience=1", "training.epochs=9", "optimiser.learning_rate=1e-30")
    (one,) = trained(config, tmp_path / "one", 1)
    two = trained(config, tmp_path / "two", 2)
    assert any(isinstance(event, StoppedEarly) for event in one)
    for events in two:
        assert essentials(events) == essentials(one)

