"""``segattn train`` as its users meet it: what it prints where, and how it exits."""

from __future__ import annotations

import io
import math
import os
import re
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from segattn_cli import app
from segattn_cli.checking.compilation import Compiled
from segattn_cli.commands.train_display import Dashboard, PlainLines, duration, gate_name, milestone, rows
from segattn_cli.config import config_from, load_config
from segattn_cli.errors import ExitCode
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training import Previewed, StepDone, Validated, train

TINY = [
    f"--set={override}"
    for override in (
        "data.scenes={size=[24, 32], train=13, val=2}", "data.workers=1", "network.head_channels=8",
        "network.scale_attention_channels=8", "augmentation.crop=[24, 32]", "training.batch_size=2",
        "training.epochs=2", "training.log_every=1", "evaluation.every=1",
    )
]  # fmt: skip


@pytest.fixture
def segattn(monkeypatch, capsys):
    """``segattn("train", …)``: exit code, standard output and standard error of the command."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["segattn", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            app.main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def test_a_run_prints_its_result_and_what_comes_next(segattn, tmp_path):
    run = tmp_path / "run"
    code, out, err = segattn("train", *TINY, "--out", run, "--seed", 3, "--backend", "reference", "--max-steps", 7)
    assert code == ExitCode.OK
    assert "validation mIoU 0." in out
    assert "person" in out
    assert f"segattn eval {run}" in out
    assert f"segattn infer {run} IMAGE… --out predictions --overlay" in out
    assert "step 1/7  epoch 0.17  loss " in err
    assert "step 7/7  epoch 1.17  loss " in err
    steps = [line for line in err.splitlines() if line.startswith("step ")]
    gates, speed = r"α [+-]0\.\d{3}  β [+-]0\.\d{3}", r"[\d.]+ images/s(  \d:\d\d left)?"
    for line in steps:
        assert re.fullmatch(rf"step \d/7  epoch [\d.]+  loss [\d.]+  {gates}  {speed}", line)
    assert "0:00 left" in steps[-1]
    assert "epoch 1  validation mIoU 0." in err
    assert "epoch 1.17  validation mIoU 0." in err
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["training"]["seed"] == 3
    assert config["training"]["backend"] == "reference"


def test_by_default_a_run_gets_a_folder_of_its_own(segattn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, _ = segattn("train", *TINY, "--max-steps", 1)
    assert code == ExitCode.OK
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("tiny-scenes-2")


def test_resume_takes_the_configuration_of_the_run(segattn, tmp_path):
    run = tmp_path / "run"
    assert segattn("train", *TINY, "--backend", "numpy", "--out", run, "--max-steps", 2)[0] == ExitCode.OK
    code, _, err = segattn("train", "--out", run, "--resume", "--max-steps", 3)
    assert code == ExitCode.OK
    assert "3 steps from step 2 with numpy" in err
    code, _, err = segattn("train", "--resume")
    assert code == ExitCode.USAGE
    assert "name its folder by --out RUN" in err


def test_dry_run_prints_a_configuration_and_what_it_costs(segattn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = segattn("train", *TINY, "--set", "optimiser.accumulate=2", "--dry-run")
    assert code == ExitCode.OK
    assert config_from(tomllib.loads(out)).optimiser.accumulate == 2
    assert "# images        13 to train, 2 to validate, 8 classes\n# steps         6, 3 an epoch\n" in out
    assert "# one step      0.0 billion multiply-adds, 4 images of 24×32\n# memory        about " in out
    assert list(tmp_path.iterdir()) == []


def test_dry_run_checks_what_a_training_would(segattn):
    """The cost is printed without the data; what would stop a training is said, with its exit code."""
    code, out, err = segattn("train", "--preset", "attention-to-scale-vgg16-voc", "--dry-run")
    assert code == 4
    assert "the cost is for 21 classes" in out
    assert "# one step" in out
    assert "does not exist" in err
    assert segattn("train", "--backend", "numpy", "--precision", "float16", "--dry-run")[0] == 6
    code, out, err = segattn("train", *TINY, "--ranks", "3", "--dry-run")
    assert (code, out) == (ExitCode.CONFIG, "")
    assert "3 ranks cannot divide the batches of a step" in err
    code, _, err = segattn("train", *TINY, "--ranks", "99999", "--dry-run")
    assert (code, "--ranks 99999 would start 99999 processes" in err) == (ExitCode.USAGE, True)


def test_options_as_people_type_them(segattn):
    code, out, _ = segattn(
        "train", *TINY, "--epochs", "3", "--batch-size", "2", "--lr", "0.5", "--val", "0.3", "--dry-run"
    )
    assert code == 0
    for line in ("epochs = 3", "batch_size = 2", "learning_rate = 0.5", "val_fraction = 0.3"):
        assert f"\n{line}\n" in out
    code, _, err = segattn("train", "--device", "cuda")
    assert (code, "There is no option --device: set the key by --set training.backend=VALUE." in err) == (2, True)
    code, _, err = segattn("train", "--set", "lr=3")
    assert (code, "did you mean optimiser.learning_rate?" in err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--preset", "tiny-scens"], ExitCode.CONFIG, "did you mean tiny-scenes?"),
        (["tiny-scens.toml"], ExitCode.CONFIG, "There is no configuration file"),
        (["--set", "training.epoch=3"], ExitCode.CONFIG, "did you mean training.epochs?"),
        (["--set", "epochs"], ExitCode.CONFIG, "--set wants key=value"),
        (["--max-steps", "0"], ExitCode.CONFIG, "training.max_steps must be greater than or equal to 1, got 0"),
        (["--seed", "x"], ExitCode.USAGE, ""),
        (["--backend", "nump"], ExitCode.BACKEND, "did you mean numpy?"),
        (["--backend", "numpy", "--precision", "float16"], ExitCode.BACKEND, "float32, not in float16"),
        (["--precision", "half"], ExitCode.CONFIG, "must be 'float32', 'tf32', 'float16' or 'bfloat16'"),
        (["--data", "nowhere"], ExitCode.DATA, "does not exist"),
        (["--format", "camvit"], ExitCode.CONFIG, "data.format must be 'auto', 'camvid', 'cityscapes'"),
        (["--set", "training.batch_size=500"], ExitCode.DATA, "has 400 images, fewer than the 500 of one step"),
        (["--out", "."], ExitCode.OUTPUT, "exists already"),
        (["--out", "nowhere", "--resume"], ExitCode.OUTPUT, "There is no run in nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(segattn, tmp_path, monkeypatch, arguments, code, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").write_text("mine")
    found, out, err = segattn("train", *arguments)
    assert found == code
    assert sentence in err
    assert "Traceback" not in err
    assert out == ""
    assert {file.name for file in tmp_path.iterdir()} == {"something"}


def test_a_loss_that_is_not_finite_exits_with_9(segattn, tmp_path):
    code, _, err = segattn(
        "train", *TINY, "--backend", "reference", "--set", "optimiser.learning_rate=1e30", "--out", tmp_path / "run"
    )
    assert code == ExitCode.NON_FINITE
    assert "is not finite: the first tensor with a NaN or an infinity is " in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_exits_with_130(tmp_path, number):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "segattn_cli.app", "train", *TINY, "--max-steps", "5000", "--out", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 1/"):
                break
        os.kill(process.pid, number)
        rest = process.stderr.read()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Stopping after this step" in rest
    assert f"Saved. Continue with: segattn train --resume --out {run}" in rest
    assert "Traceback" not in rest
    step = load_checkpoint(run / "last.safetensors").metadata["progress"]["step"]
    assert step >= 1
    lines = (run / "events.jsonl").read_text().splitlines()
    assert sum('"event":"step"' in line for line in lines) == step


def test_the_dashboard_shows_every_figure(tmp_path):
    overrides = [argument.removeprefix("--set=") for argument in TINY]
    dashboard, kept = Dashboard(), []
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for event in train(load_config("tiny-scenes", [*overrides, "training.epochs=1"]), tmp_path / "run"):
        kept.append(dashboard.update(event))
    console.print(dashboard.render())
    shown = console.export_text()
    console.file.close()
    figures = ("main", "scale classifier", "learning rate", "images/s", "memory", "left", "×0.5 0.", "best mIoU")
    for text in (*figures, "α (position)", "β (channel)", "6/6", "2/2"):
        assert text in shown
    assert any("validation mIoU" in line for line in kept)


@pytest.mark.parametrize(
    ("skipped", "words"), [(0, ""), (2, "  2 steps skipped  ")]
)
def test_half_precision_shows_the_scale_of_the_loss(capsys, tmp_path, skipped, words):
    config = load_config("tiny-scenes", [*(each.removeprefix("--set=") for each in TINY), "training.max_steps=1"])
    started, *events = train(config, tmp_path / "run")
    lines = PlainLines()
    lines.show(replace(started, backend="cupy", precision="float16"))
    step = next(event for event in events if isinstance(event, StepDone))
    lines.show(replace(step, loss_scale=2.0**16, skipped=skipped))
    shown = capsys.readouterr().err
    assert "1 step with cupy in float16\n" in shown
    assert words in shown
    assert ("skipped" in shown) == bool(skipped)
    title = ("loss scale", "65,536" + (", 2 steps skipped" if skipped else ""))
    assert title in rows(replace(step, loss_scale=2.0**16, skipped=skipped), (1.0, 0.5))
    assert "loss scale" not in dict(rows(step, (1.0, 0.5)))
    lines.show(started)
    assert " in float32" not in capsys.readouterr().err


@pytest.mark.parametrize("compiles", [True, False])
def test_the_bar_says_what_takes_long_before_the_first_step(tmp_path, monkeypatch, compiles):
    monkeypatch.setattr("segattn_cli.commands.train_display._compiles", lambda backend: compiles)
    config = load_config("tiny-scenes", [*(each.removeprefix("--set=") for each in TINY), "training.max_steps=2"])
    dashboard, clock = Dashboard(), [100.0]
    monkeypatch.setattr("segattn_cli.commands.train_display.time", SimpleNamespace(monotonic=lambda: clock[0]))
    events = train(config, tmp_path / "run")
    dashboard.update(next(events))
    clock[0] += 83
    words = "compiling … 1:23" if compiles else "first step … 1:23"
    assert words in rendered(dashboard)
    dashboard.update(next(events))
    assert words not in rendered(dashboard)
    events.close()


def test_lines_of_a_validation_and_of_a_preview():
    metrics = {"miou": 0.25, "pixel_accuracy": 0.5, "per_class_iou": {}, "seconds": 2.0}
    preview = Previewed(step=3, epoch=0.5, images=20, seconds_left=7620.0, **metrics)
    assert milestone(preview) == (
        "epoch 0.5  first impression on 20 validation images: mIoU 0.250  pixel accuracy 0.500  2:07:00 left"
    )
    validated = Validated(step=6, epoch=1.0, scale_weights=None, gates={}, best=True, **metrics)
    assert milestone(validated) == "epoch 1  validation mIoU 0.250  pixel accuracy 0.500  ← best so far"
    later = replace(validated, change=-0.0214, seconds_left=192.0, best=False)
    assert milestone(later) == "epoch 1  validation mIoU 0.250 (-0.021)  pixel accuracy 0.500  3:12 left"
    assert milestone(replace(later, seconds_left=0.0)).endswith("pixel accuracy 0.500")


def rendered(dashboard):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(dashboard.render())
    return console.export_text()


def test_names_and_times():
    assert gate_name("head.channel.gate") == "β (channel)"
    assert [duration(seconds) for seconds in (7.4, 192, 7620, math.nan)] == ["0:07", "3:12", "2:07:00", ""]


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        (True, "with numba\ncompiling the loops of numba, once\ncompiled relu, 1 of 1\nstep 1/1"),
        (False, "with numba\nstep 1/1"),
    ],
)
def test_the_first_use_of_numba_says_why_it_waits(segattn, tmp_path, monkeypatch, fresh, words):
    pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")
    monkeypatch.setattr("backends.numba.machine_code.is_first_use", lambda: fresh)
    monkeypatch.setattr("segattn_cli.commands.shared.first_use.compile_loops", lambda *_: [Compiled(1, 1, "relu")])
    code, _, err = segattn("train", *TINY, "--backend", "numba", "--out", tmp_path / "run", "--max-steps", 1)
    assert code == ExitCode.OK
    assert words in err
