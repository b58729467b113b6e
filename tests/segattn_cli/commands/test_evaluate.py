from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reference.ops as ops
from segattn_cli.data.formats.scenes import CLASSES, SceneOptions, Scenes
from segattn_cli.data.images import read_image
from segattn_cli.errors import ExitCode
from segattn_cli.prediction.metrics import ABSENT_CLASS_RULE
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.prediction.saved_evaluation import load_evaluation
from segattn_cli.runs import open_model


def folder_of(scenes: Scenes, root: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """``scenes`` in the layout of plain folders."""
    for index in range(len(scenes)):
        sample = scenes.load(index)
        for kind, array in (("images", sample.image), ("masks", sample.label)):
            (root / kind / "val").mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / "val" / f"{sample.name}.png")
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root


def test_the_figures_are_those_of_counting_by_hand(cli: Any, run: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    done = cli("eval", run, "--json", found, "--confusion", tmp_path / "confusion.png", "--backend", "reference")
    assert done.code == ExitCode.OK
    figures = json.loads(found.read_text())

    model = open_model(run)
    predictor = Predictor(model.network, model.params, ops)
    scenes = Scenes("val", SceneOptions(count=3, size=(24, 32)))
    counts = np.zeros((len(CLASSES), len(CLASSES)), int)
    for index in range(3):
        sample = scenes.load(index)
        label = predictor.label(sample.image)
        for truth, prediction in zip(sample.label.ravel(), label.ravel(), strict=True):
            if truth != 255:
                counts[truth, prediction] += 1
    assert figures["confusion"] == counts.tolist()
    ious = {}
    for k, name in enumerate(CLASSES):
        union = counts[k].sum() + counts[:, k].sum() - counts[k, k]
        ious[name] = counts[k, k] / union if union else None
    assert figures["per_class_iou"] == pytest.approx(ious)
    known = [iou for iou in ious.values() if iou is not None]
    assert figures["miou"] == pytest.approx(sum(known) / len(known))
    assert figures["pixel_accuracy"] == pytest.approx(counts.trace() / counts.sum())
    assert (figures["images"], figures["split"], figures["backend"]) == (3, "val", "reference")

    for k, name in enumerate(CLASSES):
        right, true, predicted = counts[k, k], counts[k].sum(), counts[:, k].sum()
        for key, part, whole in (
            ("dice", 2 * right, true + predicted), ("precision", right, predicted), ("recall", right, true),
        ):
            assert figures[f"per_class_{key}"][name] == pytest.approx(part / whole if whole else None)
    assert figures["mean_dice"] == pytest.approx(
        np.mean([dice for dice in figures["per_class_dice"].values() if dice is not None])
    )
    assert figures["boundary_iou"] is None
    span = figures["miou_interval"]
    assert (span["over"], span["confidence"], span["resamples"]) == ("images", 0.95, 2000)
    assert span["low"] <= figures["miou"] <= span["high"]

    assert f"mIoU {figures['miou']:.3f} ({span['low']:.3f} to {span['high']:.3f})" in done.out
    assert "bootstrap over the 3 images" in done.out
    assert ABSENT_CLASS_RULE in done.out
    assert "Mean weight of each scale: ×1 " in done.out
    for name in CLASSES:
        assert name in done.out
    assert "3/3 images  mIoU" in done.err
    assert read_image(tmp_path / "confusion.png").shape[1] > 300


def test_the_boundary_iou_and_its_width(cli: Any, run: Path) -> None:
    found = []
    for options in ([], ["--boundary-width", "0.2"]):
        done = cli("eval", run, "--boundary", *options, "--json", "-", "--backend", "reference")
        found.append(json.loads(done.out)["boundary_iou"])
    assert [each["width"] for each in found] == [0.02, 0.2]
    assert set(found[0]["per_class"]) == set(CLASSES)
    assert found[0]["mean"] != found[1]["mean"]
    printed = cli("eval", run, "--boundary", "--backend", "reference").out
    assert f"mean boundary IoU {found[0]['mean']:.3f}" in printed
    assert re.search(r"class +IoU +Dice +precision +recall +boundary IoU +frequency", printed)

    for options, sentence in (
        (["--boundary-width", "0.1"], "--boundary-width is for --boundary: give both."),
        (["--boundary", "--boundary-width", "2"], "fraction of the diagonal in (0, 1], got 2.0"),
    ):
        done = cli("eval", run, *options)
        assert (done.code, done.out) == (ExitCode.USAGE, "")
        assert sentence in done.err


def test_a_single_image_has_no_interval(cli: Any, run: Path) -> None:
    done = cli("eval", run, "--limit", 1)
    assert "bootstrap" not in done.out
    assert json.loads(cli("eval", run, "--limit", 1, "--json", "-").out)["miou_interval"] is None


def test_what_is_saved_has_each_image(cli: Any, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "first.npz"
    figures = json.loads(cli("eval", run, "--save", file, "--flip", "--json", "-").out)
    saved = load_evaluation(file)
    assert saved.matrices.names == ("val-00000", "val-00001", "val-00002")
    assert saved.matrices.truth.sum(0).tolist() == np.sum(figures["confusion"], 1).tolist()
    assert saved.matrices.miou == pytest.approx(figures["miou"])
    assert (saved.settings["flip"], saved.classes, saved.split) == (True, CLASSES, "val")
    assert saved.checkpoint == figures["checkpoint"]

    done = cli("eval", run, "--save", tmp_path / "first.json")
    assert done.code == ExitCode.USAGE
    assert "--save must name a file that ends in .npz, such as first.npz" in done.err


def test_json_on_standard_output_is_alone_there(cli: Any, run: Path) -> None:
    done = cli("eval", run, "--json", "-", "--limit", 1, "--scales", "0.5,1", "--flip", "--window", "16,16")
    figures = json.loads(done.out)
    assert figures["images"] == 1
    assert (figures["scales"], figures["flip"], figures["window"]) == ([0.5, 1.0], True, [16, 16])
    assert figures["stride"] == [11, 11]


def test_labels_keep_their_own_size_when_the_network_sees_less(
    cli: Any, model_of: Any, run: Path, tmp_path: Path
) -> None:
    half = model_of(tmp_path / "half.safetensors", "data.size=[12, 16]")
    figures = json.loads(cli("eval", half, "--json", "-").out)
    assert figures["size"] == [12, 16]
    assert np.sum(figures["confusion"]) == 3 * 24 * 32
    assert figures["confusion"] != json.loads(cli("eval", run, "--json", "-").out)["confusion"]


def test_other_data_of_the_same_classes(cli: Any, run: Path, tmp_path: Path) -> None:
    scenes = Scenes("val", SceneOptions(count=3, size=(24, 32)))
    data = folder_of(scenes, tmp_path / "set")
    own = json.loads(cli("eval", run, "--json", "-").out)
    other = json.loads(cli("eval", run, "--data", data, "--json", "-").out)
    assert other["confusion"] == own["confusion"]
    assert other["format"] == "folder"


def test_data_of_other_classes_are_refused(cli: Any, run: Path, tmp_path: Path) -> None:
    scenes = Scenes("val", SceneOptions(count=1, size=(24, 32)))
    data = folder_of(scenes, tmp_path / "set", classes=(*CLASSES[:-1], "dog"))
    done = cli("eval", run, "--data", data)
    assert done.code == ExitCode.CHECKPOINT
    assert "was trained on other classes (sky, building," in done.err
    assert "dog" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--split", "vel"], ExitCode.DATA, "'vel'"),
        (["--data", "nowhere"], ExitCode.DATA, "nowhere does not exist"),
        (["--format", "vocc", "--data", "."], ExitCode.CONFIG, "did you mean voc?"),
        (["--json", "nowhere/found.json"], ExitCode.OUTPUT, "no folder nowhere to write found.json"),
        (["--size", "3"], ExitCode.USAGE, "--size must be height and width"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    cli: Any,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("eval", run, *arguments)
    assert done.code == code
    assert sentence in done.err
    assert done.out == ""


def test_a_folder_without_a_checkpoint(cli: Any, tmp_path: Path) -> None:
    done = cli("eval", tmp_path)
    assert done.code == ExitCode.CHECKPOINT
    assert f"{tmp_path} is not the folder of a run: give the folder that segattn train --out wrote" in done.err
