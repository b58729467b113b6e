"""``segattn compare``: what it prints and writes, what it evaluates, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.data.formats.scenes import CLASSES, SceneOptions, Scenes
from segattn_cli.errors import ExitCode

from .test_evaluate import folder_of


@pytest.fixture
def pair(tmp_path: Path, model_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two networks on the same images."""
    monkeypatch.chdir(tmp_path)
    model_of(Path("runs/dual/best.safetensors"))
    model_of(Path("runs/fcn/best.safetensors"), "network.head=fcn")
    return "runs/fcn", "runs/dual"


def test_two_runs(cli: Any, pair: tuple[str, str]) -> None:
    done = cli("compare", *pair, "--json", "found.json", "--markdown", "found.md", "--csv", "found.csv")
    assert done.code == ExitCode.OK
    assert done.err.count("3/3 images") == 2
    found = json.loads(Path("found.json").read_text())
    own = [json.loads(cli("eval", run, "--json", "-").out) for run in pair]
    assert [group["name"] for group in found["groups"]] == ["fcn", "dual"]
    for group, figures in zip(found["groups"], own, strict=True):
        assert group["miou"] == pytest.approx(figures["miou"])
        assert group["per_class_iou"] == pytest.approx(figures["per_class_iou"])
        assert (group["seeds"], group["sd"], len(group["image_mious"])) == ([0], None, 3)
    (difference,) = found["differences"]
    assert difference["miou"]["value"] == pytest.approx(own[1]["miou"] - own[0]["miou"])
    assert difference["miou"]["over"] == "images"
    assert set(difference["per_class"]) == set(CLASSES)
    assert len(difference["images"]) == 3

    verdict = difference["miou"]["verdict"]
    assert verdict in done.out
    assert "The 95 % interval is over the images (paired bootstrap)" in done.out
    for name in (*CLASSES, *found["images"]):
        assert name in done.out
    text = Path("found.md").read_text()
    assert "| class | fcn | dual | difference | 95 % interval |  |" in text
    assert f"| dual | 1 | {own[1]['miou']:.3f} |" in text
    rows = list(csv.DictReader(Path("found.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["mean", *CLASSES]
    assert float(rows[0]["difference"]) == difference["miou"]["value"]
    assert rows[0]["verdict"] == verdict


def test_what_is_evaluated_is_not_evaluated_again(cli: Any, pair: tuple[str, str], model_of: Any) -> None:
    cli("compare", *pair)
    again = cli("compare", *pair)
    assert again.err == ""
    other = cli("compare", *pair, "--flip")
    assert other.err.count("3/3 images") == 2
    assert cli("compare", *pair, "--limit", 2).err.count("2/2 images") == 2
    model_of(Path("runs/fcn/best.safetensors"), "network.head=position")
    assert cli("compare", *pair).err.count("3/3 images") == 1


def test_files_in_place_of_runs(cli: Any, pair: tuple[str, str]) -> None:
    for run, file in zip(pair, ("a.npz", "b.npz"), strict=True):
        assert cli("eval", run, "--save", file).code == ExitCode.OK
    found = json.loads(cli("compare", "a.npz", "b.npz", "--json", "-").out)
    runs = json.loads(cli("compare", *pair, "--json", "-").out)
    assert [group["name"] for group in found["groups"]] == ["a.npz", "b.npz"]
    assert found["differences"][0]["miou"] == runs["differences"][0]["miou"]


def test_seeds_are_grouped(cli: Any, model_of: Any, tmp_path: Path) -> None:
    for head in ("fcn", "dual"):
        for seed in (0, 1):
            path = tmp_path / head / f"seed-{seed}" / "best.safetensors"
            model_of(path, f"network.head={head}", f"training.seed={seed}")
    runs = [tmp_path / head / f"seed-{seed}" for head in ("fcn", "dual") for seed in (0, 1)]
    found = json.loads(cli("compare", *runs, "--json", "-").out)
    assert [(group["name"], group["seeds"]) for group in found["groups"]] == [("fcn", [0, 1]), ("dual", [0, 1])]
    assert found["groups"][0]["sd"] == 0  # the same weights, here
    (difference,) = found["differences"]
    assert (difference["miou"]["over"], difference["paired"]) == ("seeds", True)
    assert difference["miou"]["low"] == pytest.approx(difference["miou"]["value"])
    done = cli("compare", *runs)
    assert "over the seeds (Student's t, paired by seed)" in done.out
    assert "± 0.000" in done.out


def test_settings_that_differ_are_named(cli: Any, pair: tuple[str, str], model_of: Any) -> None:
    model_of(Path("runs/half/best.safetensors"), "network.head=fcn", "data.size=[12, 16]")
    done = cli("compare", pair[0], "runs/half")
    assert "The runs are predicted with different settings: size is None (fcn), [12, 16] (half)." in done.out


def test_a_run_that_may_only_be_read_is_compared(cli: Any, pair: tuple[str, str]) -> None:
    Path("runs/fcn/evaluations").write_text("in the way of the folder")
    done = cli("compare", *pair)
    assert done.code == ExitCode.OK
    assert cli("compare", *pair).err.count("3/3 images") == 1


def test_data_for_all(cli: Any, pair: tuple[str, str], tmp_path: Path) -> None:
    data = folder_of(Scenes("test", SceneOptions(count=3, size=(24, 32))), tmp_path / "set")
    found = json.loads(cli("compare", *pair, "--data", data, "--json", "-").out)
    assert found["images"] == ["test-00000", "test-00001", "test-00002"]


def test_what_cannot_be_compared(cli: Any, pair: tuple[str, str], model_of: Any) -> None:
    model_of(Path("runs/more/best.safetensors"), "data.scenes={size=[24, 32], train=4, val=4}")
    model_of(Path("runs/dogs/best.safetensors"), classes=(*CLASSES[:-1], "dog"))
    cli("eval", pair[0], "--save", "a.npz")
    Path("b.npz").write_bytes(b"nothing")
    for arguments, code, sentence in (
        ([pair[0]], ExitCode.USAGE, "A comparison needs two different runs or more"),
        ([pair[0], f"{pair[0]}/"], ExitCode.USAGE, "A comparison needs two different runs or more"),
        ([*pair, "runs/more"], ExitCode.DATA, "more was evaluated on other images or labels (scenes, val, 4"),
        ([*pair, "runs/dogs"], ExitCode.CHECKPOINT, "was trained on other classes"),
        (["a.npz", "b.npz"], ExitCode.DATA, "b.npz is damaged, or no evaluation"),
        (["a.npz", "c.npz"], ExitCode.DATA, "There is no evaluation c.npz"),
        ([*pair, "--json", "nowhere/found.json"], ExitCode.OUTPUT, "no folder nowhere"),
        ([*pair, "--intensity", "loud"], ExitCode.USAGE, "--intensity must be depth or range"),
    ):
        done = cli("compare", *arguments)
        assert (done.code, done.out) == (code, ""), arguments
        assert sentence in done.err
        assert done.err.count("\n") <= 4
