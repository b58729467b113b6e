from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backends.numpy.threads import set_thread_count
from segattn_cli.config import PRESETS, load_config
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.errors import ExitCode


def test_a_preset_by_default(cli: Callable) -> None:
    done = cli("summary")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert done.out.startswith(
        f"tiny-scenes: tiny with output stride 8, head dual, {len(CLASSES)} classes, one image of 96×128\n"
    )
    lines = {" ".join(line.split()[:-1]) for line in done.out.splitlines()}
    assert "backbone.conv1 48×64×16 464 1.3" in lines
    assert "266,287 parameters are trained; 864 running statistics follow the batches. * only in" in lines
    assert max(map(len, done.out.splitlines()[1:])) < 100


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset(cli: Callable, preset: str) -> None:
    done = cli("summary", preset, "--json", "-")
    assert done.code == ExitCode.OK
    found = json.loads(done.out)
    assert (found["name"], tuple(found["size"])) == (preset, load_config(preset).augmentation.crop)


def test_figures_of_danet(cli: Callable, tmp_path: Path) -> None:
    out = tmp_path / "danet.json"
    figures = ("--classes", 19, "--size", "64,64", "--batch", 3)
    done = cli("summary", "danet-resnet50-cityscapes", *figures, "--json", out)
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert "one image of 64×64" in done.out
    assert re.search(r"^ training step +3 ", done.out, re.MULTILINE)
    found = json.loads(out.read_text())
    assert found["parameters"] == 23_508_032 + 23_954_619
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
    assert sum(layer["statistics"] for layer in found["layers"]) == found["running_statistics"]
    predicting = sum(layer["multiply_adds"] for layer in found["layers"] if not layer["training_only"])
    assert found["inference"]["multiply_adds"] == predicting
    training = found["training"]
    assert training["batch_size"] == 3
    assert training["peak_bytes"] == training["state_bytes"] + training["pass_bytes"]
    assert training["kept_bytes"] < training["pass_bytes"]


def test_all_has_a_line_for_every_layer(cli: Callable) -> None:
    plain = {"network.scales": "[1.0]", "network.head": "fcn", "network.scale_classifier": "none"}
    settings = [word for key, value in plain.items() for word in ("--set", f"{key}={value}")]
    few, many = cli("summary", *settings), cli("summary", *settings, "--all")
    assert "backbone.bn5" not in few.out
    assert few.out.count("backbone.") == 5
    assert many.out.count("backbone.") == 10
    total = r"^ all +(.*)$"
    assert re.findall(total, few.out, re.MULTILINE) == re.findall(total, many.out, re.MULTILINE)


def test_nothing_is_cut_off(cli: Callable) -> None:
    done = cli("summary", "danet-resnet50-cityscapes", "--classes", 19, "--size", "4096,8192", "--all")
    assert "…" not in done.out
    assert re.search(r"^ backbone.layer1.0.downsample.0 .*\n backbone.layer1.0.downsample.1 ", done.out, re.M)


def test_several_scales_have_a_sum_each(cli: Callable) -> None:
    sums = {}
    for line in cli("summary").out.splitlines():
        if found := re.fullmatch(r" (scale \S+|fusion|all) +(?:([\d,]+) +)?([\d.]+) +([\d.]+) *", line):
            sums[found[1]] = (int((found[2] or "0").replace(",", "")), float(found[3]), float(found[4]))
    assert list(sums) == ["scale 1", "scale 0.5", "fusion", "all"]
    *parts, whole = sums.values()
    assert whole == pytest.approx([sum(column) for column in zip(*parts, strict=True)], abs=0.2)


def test_a_run_and_a_checkpoint(cli: Callable, run: Path, tmp_path: Path) -> None:
    by_folder, by_file = cli("summary", run, "--json", "-"), cli("summary", run / "best.safetensors", "--json", "-")
    assert by_folder.code == ExitCode.OK
    assert by_folder.out == by_file.out
    found = json.loads(by_folder.out)
    assert (found["classes"], found["network"]["head_channels"]) == (len(CLASSES), 8)

    changed = json.loads(cli("summary", run, "--set", "network.head_channels=16", "--json", "-").out)
    assert changed["network"]["head_channels"] == 16
    assert changed["parameters"] > found["parameters"]

    (tmp_path / "config.toml").write_text(load_config("tiny-scenes", ["network.head_channels=8"]).as_toml())
    started = json.loads(cli("summary", tmp_path, "--json", "-").out)  # a run that has saved nothing yet
    assert started["network"]["head_channels"] == 8
    by_config = json.loads(cli("summary", tmp_path / "config.toml", "--json", "-").out)
    assert by_config == started
    shutil.copy(run / "best.safetensors", tmp_path)
    assert cli("summary", tmp_path, "--json", "-").out == by_folder.out


def test_without_the_data_it_says_for_how_many_classes(cli: Callable) -> None:
    done = cli("summary", "attention-to-scale-vgg16-voc", "--json", "-")
    assert (done.code, json.loads(done.out)["parameters"]) == (ExitCode.OK, 34_663_256)
    assert done.err.endswith("The cost is for 21 classes; --classes changes that.\n")
    done = cli("summary", "attention-to-scale-vgg16-voc", "--classes", 5, "--json", "-")
    assert (done.err, json.loads(done.out)["classes"]) == ("", 5)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["tiny-scens"], ExitCode.CONFIG, "did you mean tiny-scenes?"),
        (["nothing.safetensors"], ExitCode.CHECKPOINT, "There is no checkpoint at nothing.safetensors."),
        (["."], ExitCode.CHECKPOINT, ". is not the folder of a run:"),
        (["--set", "network.heads=fcn"], ExitCode.CONFIG, "did you mean network.head?"),
        (["--set", "network.head=fnc"], ExitCode.CONFIG, "network.head must be one of"),
        (["--size", "96x128"], ExitCode.USAGE, "--size must be height and width, such as 512,1024"),
        (["--size", "0,128"], ExitCode.USAGE, "--size must be at least one pixel in each direction"),
        (["--classes", "1"], ExitCode.USAGE, "Invalid value for '--classes'"),
        (["--batch", "0"], ExitCode.USAGE, "Invalid value for '--batch'"),
        (["--json", "nowhere/out.json"], ExitCode.OUTPUT, "There is no folder nowhere to write out.json to."),
    ],
)
def test_what_cannot_be_done_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, cli: Callable, tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("summary", *arguments)
    assert (done.code, done.out) == (code, "")
    assert sentence in re.sub(r"[│\s]+", " ", done.err)


@pytest.mark.parametrize("size", ["1,1", "3,5", "4096,8192"])
def test_any_size_can_be_counted(cli: Callable, size: str) -> None:
    done = cli("summary", "dual-scale-resnet18-camvid", "--classes", 11, "--size", size)
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert f"one image of {size.replace(',', '×')}\n" in done.out


def test_the_documentation_shows_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, cli: Callable, repository: Path
) -> None:
    text = (repository / "docs" / "summary.md").read_text(encoding="utf-8")
    example = re.search(r"```console\n\$ segattn (.*)\n(.*?)```", text, re.DOTALL)
    assert example
    set_thread_count(2)
    try:
        done = cli(*example[1].split())
    finally:
        set_thread_count(None)

    def words(text: str) -> list[str]:
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    assert words(done.out) == words(example[2])


def test_no_weights_are_drawn(monkeypatch: pytest.MonkeyPatch, cli: Callable) -> None:
    """Those of ResNet-101 take seconds."""
    monkeypatch.delattr(np.random, "Philox")
    assert cli("summary", "danet-resnet101-cityscapes", "--classes", 19).code == ExitCode.OK
