"""When a run is validated, and the first impression that it gives before."""

from __future__ import annotations

import numpy as np
import pytest

from segattn_cli.prediction.evaluation import Evaluated, EvaluationResult
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.runs.history import read_history
from segattn_cli.training import Interrupted, Previewed, RunFinished, StepDone, Validated, train
from segattn_cli.training.setup import open_run
from segattn_cli.training.validation import validation_is_due, validations_left

AT_ONCE = "evaluation.preview_after=1e-9"


def of_class(events, wanted):
    return [event for event in events if isinstance(event, wanted)]


def progress(run):
    return load_checkpoint(run / "last.safetensors").metadata["progress"]


@pytest.fixture(scope="module")
def without(tiny, tmp_path_factory):
    """A run without a preview, and its events."""
    run = tmp_path_factory.mktemp("runs") / "without"
    return run, list(train(tiny("evaluation.preview_after=0"), run))


def assert_same_weights(one, other):
    for name in ("last", "best"):
        wanted, got = (load_checkpoint(run / f"{name}.safetensors").arrays for run in (one, other))
        assert wanted.keys() == got.keys()
        assert all(wanted[key].tobytes() == got[key].tobytes() for key in wanted)


def test_a_preview_comes_once_and_changes_nothing(without, tiny, tmp_path, read_events):
    run = tmp_path / "run"
    events = list(train(tiny(AT_ONCE), run))
    (preview,) = of_class(events, Previewed)
    assert (preview.step, preview.epoch, preview.images) == (1, 1 / 6, 2)
    assert 0 <= preview.miou <= 1
    assert events.index(preview) < events.index(of_class(events, Validated)[0])
    assert of_class(without[1], Previewed) == []
    assert_same_weights(without[0], run)
    (logged,) = read_events(run, "previewed")
    assert (logged["step"], logged["miou"]) == (1, preview.miou)
    history = read_history(run)
    assert history.unreadable == 0
    assert [event.step for event in history.validations] == [6, 12]
    results = of_class(events, EvaluationResult)  # of the best validations, for the report; of the preview none
    assert len(results) == len(of_class(without[1], EvaluationResult))
    assert (progress(run)["previewed_at"], progress(without[0])["previewed_at"]) == (1, -1)


def test_a_resumed_run_has_no_second_preview(without, tiny, tmp_path):
    run, events = tmp_path / "run", []
    events.extend(train(tiny(AT_ONCE), run, should_stop=lambda: len(of_class(events, StepDone)) >= 3))
    assert len(of_class(events, Previewed)) == 1
    assert of_class(train(tiny(AT_ONCE), run, resume=True), Previewed) == []
    assert_same_weights(without[0], run)


def test_a_stop_during_a_preview_leaves_no_trace(without, tiny, tmp_path, read_events):
    run, seen = tmp_path / "run", []
    seen.extend(train(tiny(AT_ONCE), run, should_stop=lambda: bool(of_class(seen, Evaluated))))
    assert isinstance(seen[-1], Interrupted)
    assert progress(run)["previewed_at"] == -1
    assert read_events(run, "previewed") == []
    (preview,) = of_class(train(tiny(AT_ONCE), run, resume=True), Previewed)
    assert preview.step == 2
    assert_same_weights(without[0], run)


def test_a_validation_makes_a_preview_unnecessary(tiny, tmp_path):
    run = tmp_path / "run"
    list(train(tiny("training.epochs=1", "evaluation.preview_after=0"), run))
    assert of_class(train(tiny(AT_ONCE), run, resume=True), Previewed) == []


def test_a_preview_without_a_labelled_pixel_is_left_out(tiny, tmp_path, folder, rng):
    labels = [rng.integers(0, 3, (24, 32)) for _ in range(4)]
    void = np.full((24, 32), 255)
    data = folder("data", {"train": labels, "val": [*[void] * 9, labels[0], *[void] * 11]})
    events = list(train(tiny(f"data.source={data}", AT_ONCE), tmp_path / "run"))  # 9.png is the last by name
    assert of_class(events, Previewed) == []
    assert len(of_class(events, Evaluated)) == 20 + 2 * 21
    assert isinstance(events[-1], RunFinished)


def test_a_preview_predicts_few_images(tiny, tmp_path):
    events = train(tiny(AT_ONCE, "data.scenes.val=23", "training.max_steps=2"), tmp_path / "run")
    assert [preview.images for preview in of_class(events, Previewed)] == [20]
    few = tiny(AT_ONCE, "data.scenes.val=23", "training.max_steps=2", "evaluation.limit=3")
    assert [preview.images for preview in of_class(train(few, tmp_path / "few"), Previewed)] == [3]


def test_a_validation_tells_its_change_and_the_time_that_is_left(without):
    first, last = of_class(without[1], Validated)
    assert first.change is None
    assert last.change == last.miou - first.miou
    assert first.seconds_left > first.seconds  # six steps and another validation
    assert last.seconds_left == 0


@pytest.mark.parametrize(
    "overrides",
    [(), ("evaluation.every=2",), ("evaluation.every=5", "training.epochs=4"), ("training.max_steps=15",),
     ("evaluation.every=none", "training.epochs=9"), ("training.max_steps=3",)],
)  # fmt: skip
def test_the_validations_that_are_left_are_those_that_come(tiny, tmp_path, overrides):
    run = open_run(tiny(*overrides), tmp_path / "run", resume=False)
    run.close()
    left = []
    for step in range(run.steps + 1):
        run.state.progress.step = step
        if validation_is_due(run):
            left.append(validations_left(run))
        if step == 0:
            all_of_them = validations_left(run)
    assert left == list(reversed(range(all_of_them)))
