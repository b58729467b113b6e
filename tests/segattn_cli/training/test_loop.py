"""Whole runs: what they leave behind, how they end, and how they go on."""

from __future__ import annotations

import errno
import fcntl
import json
import resource
import tomllib
from itertools import count

import numpy as np
import pytest
from PIL import Image

from backends import get_backend
from segattn_cli import mounts
from segattn_cli.config import config_from, load_config
from segattn_cli.errors import CheckpointError, ConfigError, DataError, NonFiniteError, OutputError, UsageError
from segattn_cli.prediction.evaluation import evaluate
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.saved_evaluation import load_evaluation
from segattn_cli.runs import arrays_under, open_model
from segattn_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from segattn_cli.training import Interrupted, RunFinished, StepDone, StoppedEarly, Validated, train
from segattn_cli.training.setup import open_splits

FILES = {
    "config.toml", "events.jsonl", "last.safetensors", "best.safetensors", "result.json", "curves.png",
    "predictions.png", "evaluations",
}  # fmt: skip


def arrays(run, name="last"):
    return load_checkpoint(run / f"{name}.safetensors").arrays


def assert_same_weights(a, b):
    for name in ("last", "best"):
        one, other = arrays(a, name), arrays(b, name)
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert value.tobytes() == other[key].tobytes(), f"{name}: {key}"


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A run that nothing disturbed, and its events."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    return out, list(train(tiny(), out))


def test_a_run_leaves_its_folder_complete(finished, tiny):
    out, events = finished
    assert {file.name for file in out.iterdir()} == FILES
    assert config_from(tomllib.loads((out / "config.toml").read_text())) == tiny()
    best = json.loads((out / "result.json").read_text())
    (evaluation,) = map(load_evaluation, (out / "evaluations").iterdir())
    assert evaluation.matrices.miou == best["miou"]
    assert evaluation.checkpoint == str(out / "best.safetensors")
    for picture in ("curves", "predictions"):
        with Image.open(out / f"{picture}.png") as image:
            assert min(image.size) > 100
    result = json.loads((out / "result.json").read_text())
    assert isinstance(events[-1], RunFinished)
    assert result == json.loads(json.dumps(events[-1].result))
    assert result["epochs"] == 2
    assert result["steps"] == 12
    assert result["backend"] == "reference"
    assert result["seconds"] > 0
    assert set(result["gates"]) == {"head.position.gate", "head.channel.gate"}
    assert next(iter(result["per_class_iou"])) == "sky"
    assert {"segattn", "numpy", "python"} <= set(result["versions"])


def test_the_result_is_what_an_evaluation_of_the_best_checkpoint_gives(finished):
    out, _ = finished
    model = open_model(out)
    assert model.path == out / "best.safetensors"
    _, validation = open_splits(model.config)
    *_, evaluation = evaluate(Predictor.of(model, get_backend("reference")), validation)
    result = json.loads((out / "result.json").read_text())
    assert evaluation.miou == result["miou"]
    assert evaluation.per_class_iou == result["per_class_iou"]


def test_events_are_yielded_and_logged(finished, read_events):
    out, events = finished
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [step.step for step in steps] == list(range(1, 13))
    assert [step["step"] for step in read_events(out, "step")] == list(range(1, 13))
    assert [event["step"] for event in read_events(out, "validated")] == [6, 12]
    first, last = steps[0], steps[-1]
    assert first.learning_rate == pytest.approx(0.5 * 0.02)  # the first of two steps of warm-up
    assert last.learning_rate == pytest.approx(0.02 * (1 - 11 / 12) ** 0.9)
    assert set(first.parts) == {"main", "position", "channel", "scale 1", "scale 0.5", "scale classifier"}
    total = sum(value for name, value in first.parts.items()) - 0.9 * first.parts["scale classifier"]
    assert first.loss == pytest.approx(total, rel=1e-5)
    assert first.scale_weights == pytest.approx((0.5, 0.5))  # the scale attention starts as the mean
    assert last.scale_weights != pytest.approx((0.5, 0.5), abs=1e-6)
    assert last.gates["head.position.gate"] != 0
    assert last.loss < first.loss
    assert last.epoch == 2.0
    assert last.seconds_left == 0
    assert 0 <= last.wait_share <= 1
    assert last.memory > 10e6


def test_the_same_run_twice_has_the_same_weights_and_another_seed_others(finished, tiny, tmp_path):
    out, _ = finished
    list(train(tiny(), tmp_path / "again"))
    assert_same_weights(out, tmp_path / "again")
    list(train(tiny("training.seed=1", "training.max_steps=1"), tmp_path / "other"))
    name = "backbone.conv1.weight"
    assert arrays(out)[name].tobytes() != arrays(tmp_path / "other")[name].tobytes()


@pytest.mark.parametrize("stop_at", [1, 6, 8, 12])
def test_a_stop_saves_and_the_rest_is_as_if_there_had_been_none(finished, tiny, tmp_path, read_events, stop_at):
    out, _ = finished
    done = []

    def should_stop():
        return len(done) >= stop_at

    for event in train(tiny(), tmp_path / "run", should_stop=should_stop):
        done += [event] * isinstance(event, StepDone)
        last = event
    assert last == Interrupted(stop_at, tmp_path / "run")
    *_, last = train(tiny(), tmp_path / "run", resume=True)
    assert isinstance(last, RunFinished)
    assert_same_weights(out, tmp_path / "run")
    assert [step["step"] for step in read_events(tmp_path / "run", "step")] == list(range(1, 13))
    assert [event["miou"] for event in read_events(tmp_path / "run", "validated")] == [
        event["miou"] for event in read_events(out, "validated")
    ]


def test_a_stop_while_validating_validates_again(finished, tiny, tmp_path, read_events):
    out, _ = finished
    calls = count()
    # Asked once after each of six steps, then after the first picture of the validation.
    *_, last = train(tiny(), tmp_path / "run", should_stop=lambda: next(calls) >= 6)
    assert isinstance(last, Interrupted)
    assert read_events(tmp_path / "run", "validated") == []
    list(train(tiny(), tmp_path / "run", resume=True))
    assert_same_weights(out, tmp_path / "run")


def test_to_resume_what_is_finished_changes_nothing(tiny, tmp_path):
    list(train(tiny(), tmp_path / "run"))
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    events = list(train(tiny(), tmp_path / "run", resume=True))
    assert not any(isinstance(event, StepDone | Validated) for event in events)
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before
    assert json.loads((tmp_path / "run" / "result.json").read_text())["miou"] == events[-1].result["miou"]


def test_early_stop(tiny, tmp_path):
    # Frozen norms and hardly any rate: no validation can be better than the first.
    config = tiny(
        "training.patience=2", "training.batch_norm=frozen", "optimiser.learning_rate=1e-20", "training.epochs=9",
        "evaluation.limit=1",
    )  # fmt: skip
    events = list(train(config, tmp_path / "run"))
    assert [event.best for event in events if isinstance(event, Validated)] == [True, False, False]
    assert [event for event in events if isinstance(event, StoppedEarly)] == [StoppedEarly(18, 6)]
    assert events[-1].result["best_step"] == 6
    again = list(train(config, tmp_path / "run", resume=True))
    assert not any(isinstance(event, StepDone) for event in again)


def test_frozen_norms_keep_their_statistics_and_running_ones_do_not(finished, tiny, tmp_path):
    list(train(tiny("training.batch_norm=frozen", "training.max_steps=2"), tmp_path / "run"))
    frozen = arrays(tmp_path / "run")
    assert not frozen["backbone.bn1.running_mean"].any()
    assert (frozen["backbone.bn1.running_var"] == 1).all()
    assert not (frozen["backbone.bn1.weight"] == 1).all()
    assert arrays(finished[0])["backbone.bn1.running_mean"].any()


def test_ema_is_what_gets_validated_and_opened(tiny, tmp_path):
    list(train(tiny("training.ema=0.9", "training.max_steps=4"), tmp_path / "run"))
    last, best = arrays(tmp_path / "run"), arrays(tmp_path / "run", "best")
    name = "backbone.conv1.weight"
    assert not np.array_equal(last[name], last[f"ema.{name}"])
    np.testing.assert_array_equal(best[name], last[f"ema.{name}"])
    opened = open_model(tmp_path / "run" / "last.safetensors")
    np.testing.assert_array_equal(opened.params[name], last[f"ema.{name}"])


def test_accumulation_makes_fewer_steps(tiny, tmp_path):
    events = list(train(tiny("optimiser.accumulate=2", "training.epochs=1"), tmp_path / "run"))
    assert sum(isinstance(event, StepDone) for event in events) == 3


def test_clipping_bounds_what_a_step_changes(tiny, tmp_path):
    clipped = tiny(
        "optimiser.clip_norm=1e-3", "optimiser.weight_decay=0.0", "training.max_steps=1", "schedule.warmup_steps=0",
        "training.batch_norm=frozen",
    )  # fmt: skip
    (step,) = [event for event in train(clipped, tmp_path / "run") if isinstance(event, StepDone)]
    assert step.gradient_norm > 1e-3
    momentum = arrays_under(arrays(tmp_path / "run"), "momentum.")
    assert np.sqrt(sum((value**2).sum() for value in momentum.values())) == pytest.approx(1e-3, rel=1e-4)


def test_a_folder_that_exists_is_left_alone(finished, tiny, tmp_path):
    out, _ = finished
    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    with pytest.raises(OutputError, match="exists already: go on with its run by --resume, or choose"):
        next(train(tiny(), out))
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == before
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        next(train(tiny(), file))
    with pytest.raises(OutputError, match="cannot be made"):
        next(train(tiny(), file / "run"))
    with pytest.raises(OutputError, match="no run in"):
        next(train(tiny(), tmp_path / "nowhere", resume=True))
    assert file.read_text() == "mine"


def test_two_trainings_do_not_share_a_folder(tiny, tmp_path):
    first = train(tiny(), tmp_path / "run")
    next(first)
    def state():
        return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "run").iterdir()}

    before = state()
    with pytest.raises(OutputError, match="Another training is running in"):
        next(train(tiny("optimiser.learning_rate=0.5"), tmp_path / "run", resume=True))
    assert state() == before
    assert isinstance(list(first)[-1], RunFinished)


def test_without_locks_it_says_so(tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    assert not any("locks" in each for each in next(train(tiny(), tmp_path / "first")).warnings)
    monkeypatch.setattr(fcntl, "flock", fail)
    assert any("has no locks" in each for each in next(train(tiny(), tmp_path / "second")).warnings)


def test_where_locks_hold_on_one_machine_only_it_says_so(tiny, tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(f"40 27 0:50 / {tmp_path} rw,relatime - nfs server:/runs rw,vers=3,nolock\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    (warning,) = (each for each in next(train(tiny(), tmp_path / "run")).warnings if "locks" in each)
    assert "is on server:/runs (nfs), whose locks hold on this machine only" in warning


def test_without_its_last_checkpoint_it_says_that_it_begins_anew(tiny, tmp_path):
    run = tmp_path / "run"
    list(train(tiny("training.max_steps=2"), run))
    (run / "last.safetensors").unlink()
    length = (run / "events.jsonl").stat().st_size
    (warning,) = (each for each in next(train(tiny(), run, resume=True)).warnings if "begins at the first" in each)
    assert f"begins at the first step; its event log of {length:,} bytes is emptied" in warning


def test_a_name_that_is_too_long(tiny, tmp_path):
    with pytest.raises(OutputError, match="cannot be made: File name too long"):
        next(train(tiny(), tmp_path / ("x" * 300)))


def test_only_a_run_is_resumed(tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="There is no run in"):
        next(train(tiny(), tmp_path, resume=True))
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_cannot_go_on_to_a_step_behind_it(finished, tiny, tmp_path):
    out, _ = finished
    before = (out / "last.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="is at step 12, beyond the 3 steps that are asked for"):
        next(train(tiny("training.max_steps=3"), out, resume=True))
    assert (out / "last.safetensors").read_bytes() == before


def test_weights_that_are_not_finite_are_not_saved(tiny, tmp_path):
    out = tmp_path / "run"
    steps = train(tiny("training.checkpoint_every=1", "training.batch_norm=frozen"), out)
    while not (out / "last.safetensors").exists():
        next(steps)
    before = (out / "last.safetensors").read_bytes()
    steps.close()
    huge = tiny("training.checkpoint_every=1", "optimiser.learning_rate=1e38", "optimiser.weight_decay=1e10")
    with pytest.raises(NonFiniteError, match=r"is not finite: .* is the parameter .* is kept"):
        list(train(huge, out, resume=True))
    assert (out / "last.safetensors").read_bytes() == before


def test_a_validation_that_is_not_finite(tiny, tmp_path, read_events):
    """Its weights are finite, and so are the losses, for which running statistics are not used."""
    list(train(tiny("training.max_steps=2"), tmp_path / "run"))
    checkpoint = load_checkpoint(tmp_path / "run" / "best.safetensors")
    name = next(each for each in checkpoint.arrays if each.endswith("running_mean"))
    huge = {name: np.full_like(checkpoint.arrays[name], -3e38)}
    save_checkpoint(tmp_path / "huge.safetensors", {**checkpoint.arrays, **huge}, checkpoint.metadata)
    run = tmp_path / "diverged"
    settings = (f"network.weights={tmp_path / 'huge.safetensors'}", "training.max_steps=2")
    with pytest.raises(NonFiniteError, match=r"Step 2 is not finite: .* the scores of a validation image; .*last"):
        list(train(tiny(*settings, "training.checkpoint_every=1"), run))
    assert load_checkpoint(run / "last.safetensors").metadata["progress"]["step"] == 1
    assert [each["step"] for each in read_events(run, "non_finite")] == [2]


@pytest.mark.parametrize(
    "odd",
    [
        {"step": -3}, {"step": "x"}, {"journal": -1}, {"seconds": None}, {"best": []}, {"loss_scale": {"x": 1}}, [],
        None,
    ],
    ids=str,
)
def test_progress_that_cannot_be(finished, tiny, tmp_path, odd):
    out, _ = finished
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").touch()
    last = load_checkpoint(out / "last.safetensors")
    progress = {**last.metadata["progress"], **odd} if isinstance(odd, dict) else odd
    save_checkpoint(run / "last.safetensors", last.arrays, {**last.metadata, "progress": progress})
    with pytest.raises(CheckpointError, match="does not say how far its training was"):
        next(train(tiny(), run, resume=True))


def test_an_empty_folder_will_do(tiny, tmp_path):
    (tmp_path / ".segattn-0123456789abcdef.partial").write_text("of a run that was killed while it began")
    (tmp_path / "events.jsonl").touch()
    list(train(tiny("training.max_steps=1"), tmp_path))
    assert {file.name for file in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("training.batch_size=14", DataError, "has 13 images, fewer than the 14 of one step"),
        ("optimiser.accumulate=7", DataError, "has 13 images, fewer than the 14 of one step"),
        ("loss.class_weights=[1.0]", ConfigError, "has 1 numbers"),
        ("data.source=nowhere", DataError, "does not exist"),
        ("data.val_split=validation", DataError, "validation"),
        ("evaluation.stride=[8,8]", UsageError, "stride"),
    ],
)
def test_what_can_be_known_is_known_before_the_folder_is_made(tiny, tmp_path, override, error, message):
    with pytest.raises(error, match=message):
        next(train(tiny(override), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_does_not_fit_is_refused(finished, tiny, tmp_path, folder):
    out, _ = finished
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.toml", "events.jsonl"):
        (run / name).touch()
    last = run / "last.safetensors"
    last.write_bytes((out / "last.safetensors").read_bytes())
    for override, message in (
        ("network.fusion=max", "another network: network.fusion is attention there and max here"),
        ("network.head_channels=4", "another network: network.head_channels is 8 there and 4 here"),
    ):
        with pytest.raises(CheckpointError, match=message):
            next(train(tiny(override), run, resume=True))
    with pytest.raises(CheckpointError, match=r"another optimiser: optimiser\.kind is sgd there and adamw here"):
        next(train(tiny("optimiser.kind=adamw"), run, resume=True))
    label = np.zeros((24, 32))
    other = folder("other", {"train": [label] * 2, "val": [label]})
    with pytest.raises(CheckpointError, match=r"other classes \(sky, building, .*\) than .*\(sky, road, tree\)"):
        next(train(tiny(f"data.source={other}"), run, resume=True))
    last.write_bytes((out / "best.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="without the state of its training"):
        next(train(tiny(), run, resume=True))
    last.write_bytes((out / "last.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        next(train(tiny(), run, resume=True))
    assert {file.name for file in run.iterdir()} == {"config.toml", "events.jsonl", "last.safetensors"}


def test_void_everywhere_in_a_batch_is_survived(tiny, tmp_path, folder):
    void = np.full((24, 32), 255)
    labelled = np.arange(24 * 32).reshape(24, 32) % 2
    data = folder("void", {"train": [*[void] * 7, labelled], "val": [np.zeros((24, 32))]})
    overrides = [f"data.source={data}", "training.epochs=1", "loss.scale_classifier=0.0"]
    events = list(train(tiny(*overrides), tmp_path / "run"))
    losses = [event.loss for event in events if isinstance(event, StepDone)]
    assert (len(losses), losses.count(0.0)) == (4, 3)
    assert isinstance(events[-1], RunFinished)
    nothing = folder("nothing", {"train": [void] * 4, "val": [void]})
    with pytest.raises(DataError, match="no labelled pixel"):
        list(train(tiny(f"data.source={nothing}", "training.epochs=1"), tmp_path / "other"))


def test_a_picture_that_goes_bad_costs_nothing_but_its_repair(tiny, tmp_path, folder, rng, read_events):
    labels = [rng.integers(0, 3, (24, 32)) for _ in range(8)]
    data = folder("pictures", {"train": labels, "val": labels[:1]})
    config = tiny(f"data.source={data}", "training.epochs=3")
    list(train(config, tmp_path / "undisturbed"))

    picture = data / "images" / "train" / "5.png"
    whole = picture.read_bytes()
    running = train(config, tmp_path / "run")
    for event in running:
        if isinstance(event, StepDone) and event.step == 4:  # the end of the first epoch
            break
    picture.write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"5\.png"):
        list(running)
    saved = load_checkpoint(tmp_path / "run" / "last.safetensors").metadata["progress"]["step"]
    logged = read_events(tmp_path / "run", "step")[-1]["step"]
    assert saved == logged > 4
    picture.write_bytes(whole)
    list(train(config, tmp_path / "run", resume=True))
    assert_same_weights(tmp_path / "undisturbed", tmp_path / "run")


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_not_finite_is_explained_and_the_checkpoint_kept(tiny, tmp_path, read_events):
    config = tiny("optimiser.learning_rate=1e30", "training.checkpoint_every=1")
    run = tmp_path / "run"
    with pytest.raises(NonFiniteError) as error:
        list(train(config, run))
    sentence = str(error.value)
    assert sentence.startswith("Step 2 is not finite: the first tensor with a NaN or an infinity is the output of ")
    assert f"{run}/last.safetensors from before it is kept" in sentence
    (logged,) = read_events(run, "non_finite")
    assert logged["step"] == 2
    assert logged["tensor"] in sentence
    kept = load_checkpoint(run / "last.safetensors")
    assert kept.metadata["progress"]["step"] == 1
    assert all(np.isfinite(array).all() for array in kept.arrays.values())


def test_a_disk_that_fills_up_leaves_a_run_that_can_go_on(finished, tiny, tmp_path, read_events):
    out, _ = finished
    run = tmp_path / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    running = train(tiny("training.checkpoint_every=2"), run)
    for event in running:
        if isinstance(event, StepDone) and event.step == 3:
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            list(running)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(run / "last.safetensors").metadata["progress"]["step"] == 2
    list(train(tiny("training.checkpoint_every=2"), run, resume=True))
    assert_same_weights(out, run)
    assert [step["step"] for step in read_events(run, "step")] == list(range(1, 13))


def test_resuming_with_other_settings_than_the_network_is_allowed(finished, tmp_path):
    out, _ = finished
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.toml", "last.safetensors", "best.safetensors", "events.jsonl"):
        (run / name).write_bytes((out / name).read_bytes())
    longer = load_config(run / "config.toml", ["training.epochs=3"])
    steps = [event.step for event in train(longer, run, resume=True) if isinstance(event, StepDone)]
    assert steps == list(range(13, 19))
    assert tomllib.loads((run / "config.toml").read_text())["training"]["epochs"] == 3


def test_epochs_of_few_steps_are_not_each_worth_a_validation(tiny_overrides, tmp_path, read_events):
    settings = [setting for setting in tiny_overrides if not setting.startswith("evaluation.every")]
    config = load_config("tiny-scenes", [*settings, "training.max_steps=30"])  # of 6 steps an epoch
    for _ in train(config, tmp_path / "run"):
        pass
    assert [event["step"] for event in read_events(tmp_path / "run", "validated")] == [24, 30]
