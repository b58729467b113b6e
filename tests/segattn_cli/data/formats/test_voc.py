from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import open_dataset, splits_of, write_label_png
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.errors import DataError

CLASSES, PALETTE = known_classes("voc").names, known_classes("voc").palette
LABEL = np.array([[0, 20, 255], [15, 15, 255]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("2007_000032", "2007_000039"):
        Image.new("RGB", (3, 2)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        write_label_png(tmp_path / "SegmentationClass" / f"{name}.png", LABEL, PALETTE)
        write_label_png(tmp_path / "SegmentationClassAug" / f"{name}.png", LABEL * 0, PALETTE)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_000039\n2007_000032\n")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000032\n")
    return tmp_path


def test_reads_indices_and_keeps_the_border_void(root: Path) -> None:
    dataset = open_dataset(root)
    assert (dataset.format, dataset.classes, len(dataset)) == ("voc", CLASSES, 2)
    assert dataset.name_of(0) == "2007_000039"
    np.testing.assert_array_equal(dataset.load(0).label, LABEL)


def test_splits_are_the_lists(root: Path) -> None:
    assert splits_of(root) == ("train", "val")
    with pytest.raises(DataError, match=r"has no split 'test': it has train, val"):
        open_dataset(root, split="test")


def test_lists_of_pairs(root: Path) -> None:
    line = "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n"
    (root / "ImageSets" / "Segmentation" / "train_aug.txt").write_text(line)
    assert (open_dataset(root, split="train_aug").load(0).label == 0).all()


def test_a_list_that_points_nowhere(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000099\n")
    with pytest.raises(DataError, match=r"val.txt names 2007_000099, which is nowhere below"):
        open_dataset(root, split="val")


def test_all_that_a_list_misses_is_noted(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000097\n2007_000032\n2007_000099\n")
    with pytest.raises(DataError, match=r"names 2007_000097,") as caught:
        open_dataset(root, split="val")
    (note,) = caught.value.__notes__
    assert "names 2007_000099," in note


def test_an_empty_list(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"split 'val' of \S+ is empty"):
        open_dataset(root, split="val")


def test_the_palette_is_the_development_kits() -> None:
    """``VOClabelcolormap``: bit j of the index, in threes, goes to bit 7 − j of red, green and blue."""
    for index, colour in enumerate(PALETTE):
        wanted = [sum((index >> (3 * j + channel) & 1) << (7 - j) for j in range(8)) for channel in range(3)]
        assert colour.tolist() == wanted
    assert len(PALETTE) == len(CLASSES) == 21
