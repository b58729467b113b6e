"""``segattn infer --polygons``: what a network says, corrected in a tool, becomes a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.errors import ExitCode


@pytest.fixture(scope="module")
def run(model_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_of(tmp_path_factory.mktemp("run") / "best.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for name in ("a/street.png", "b/street.png", "c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / name)
    return folder


def label(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask)


@pytest.mark.parametrize("form", ["coco", "labelme"])
def test_predictions_come_back_as_a_data_set(cli: Any, run: Path, photos: Path, tmp_path: Path, form: str) -> None:
    out, dataset = tmp_path / "out", tmp_path / "dataset"
    assert cli("infer", run, photos, "--out", out, "--polygons", form).code == 0
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    imported = cli(
        "data", "import", out, "--images", photos, "--out", dataset, "--classes", tmp_path / "classes.txt",
        "--val", 0, "--json",
    )
    assert imported.code == 0, imported.err
    summary = json.loads(imported.out)
    assert summary["classes"] == list(CLASSES)
    assert summary["left_out"] == {}
    masks = dataset / "masks" / "train"
    np.testing.assert_array_equal(label(masks / "c.png"), label(out / "c.png"))
    for folder in ("a", "b"):
        np.testing.assert_array_equal(label(masks / f"{folder}-street.png"), label(out / folder / "street.png"))


def test_resume_gives_the_polygons_of_all_images(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cli("infer", run, photos / "c.jpg", "--out", out)
    result = cli("infer", run, photos, "--out", out, "--polygons", "coco", "--resume")
    assert "has the polygons of 3 images" in result.err
    document = json.loads((out / "annotations.coco.json").read_text())
    assert {image["file_name"] for image in document["images"]} == {"a/street.png", "b/street.png", "c.jpg"}
    assert {each["image_id"] for each in document["annotations"]} == {1, 2, 3}


def test_a_document_that_is_there_is_not_replaced(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotations.coco.json").touch()
    command = ("infer", run, photos, "--out", tmp_path / "out", "--polygons", "coco")
    result = cli(*command)
    assert result.code == ExitCode.OUTPUT
    assert "annotations.coco.json exists already" in result.err
    assert cli(*command, "--force").code == 0


def test_standard_input(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    data = (photos / "c.jpg").read_bytes()
    cli("infer", run, "-", "--out", tmp_path / "out", "--polygons", "labelme", stdin=data)
    imported = cli("data", "import", tmp_path / "out" / "stdin.json", "--out", tmp_path / "dataset")
    assert imported.code == 0, imported.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--polygons-tolerance", "1"], "--polygons-tolerance is for --polygons: give both"),
        (["--polygons", "coco", "--submission", "voc"], "leave out --polygons"),
        (["--polygons", "yolo"], "'yolo'"),
    ],
)
def test_options_that_cannot_be(
    cli: Any, run: Path, photos: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    result = cli("infer", run, photos, "--out", tmp_path / "out", *arguments)
    assert result.code == ExitCode.USAGE
    assert sentence in result.err
