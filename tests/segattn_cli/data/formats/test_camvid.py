from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segattn_cli.data import open_dataset, splits_of
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.errors import DataError

CLASSES, PALETTE = known_classes("camvid").names, known_classes("camvid").palette
LABEL = np.array([[0, 3, 10], [11, 8, 5]], np.uint8)


@pytest.fixture
def root(tmp_path: Path, save_pair: Callable[..., None]) -> Path:
    for split, name in (("train", "a.png"), ("train", "b.jpg"), ("val", "c.png")):
        image = tmp_path / split / name
        save_pair(image, tmp_path / f"{split}annot" / f"{image.stem}.png", LABEL)
    return tmp_path


def test_without_lists(root: Path) -> None:
    dataset = open_dataset(root)
    assert (dataset.format, len(dataset), dataset.classes) == ("camvid", 2, CLASSES)
    assert splits_of(root) == ("train", "val")


def test_eleven_is_void(root: Path) -> None:
    np.testing.assert_array_equal(open_dataset(root).load(0).label, [[0, 3, 10], [255, 8, 5]])


def test_twelve_is_wrong(root: Path, save_pair: Callable[..., None]) -> None:
    save_pair(root / "train" / "a.png", root / "trainannot" / "a.png", LABEL + 1)
    with pytest.raises(DataError, match=r"trainannot/a.png holds the value 12 but there are 11 classes"):
        open_dataset(root).load(0)


def test_a_list_chooses_and_orders(root: Path) -> None:
    lines = [f"/SegNet/CamVid/train/{name}.png /SegNet/CamVid/trainannot/{name}.png" for name in "ba"]
    (root / "train.txt").write_text("\n".join(lines) + "\n\n")
    dataset = open_dataset(root)
    assert [dataset.name_of(i) for i in range(2)] == ["b", "a"]
    assert dataset.load(0).image.shape == (2, 3, 3)
    (root / "train.txt").write_text(lines[1])
    assert len(open_dataset(root)) == 1


def test_a_list_across_splits(root: Path) -> None:
    (root / "trainval.txt").write_text("train/a.png trainannot/a.png\nval/c.png valannot/c.png\n")
    assert splits_of(root) == ("train", "val", "trainval")
    assert len(open_dataset(root, split="trainval")) == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("/x/train/z.png /x/trainannot/z.png", r"train.txt names /x/train/z.png, which is nowhere below"),
        ("/x/train/a.png /x/trainannot/z.png", r"train.txt names /x/trainannot/z.png, which is nowhere below"),
        ("train/a.png", r"train.txt must name an image and its mask on every line"),
        ("", r"split 'train' of \S+ is empty"),
    ],
)
def test_lists_that_cannot_be_meant(root: Path, content: str, sentence: str) -> None:
    (root / "train.txt").write_text(content)
    with pytest.raises(DataError, match=sentence):
        open_dataset(root)


def test_a_list_that_is_no_text(root: Path) -> None:
    (root / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train.txt is not text"):
        open_dataset(root)


def test_a_split_that_does_not_exist(root: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'test': it has train, val"):
        open_dataset(root, split="test")


def test_masks_without_images(root: Path) -> None:
    (root / "train").rename(root / "pictures")
    with pytest.raises(DataError, match=r"trainannot has masks, but the folder \S+train of their images is"):
        open_dataset(root)


def test_a_missing_mask(root: Path) -> None:
    (root / "trainannot" / "a.png").unlink()
    with pytest.raises(DataError, match=r"train/a.png has no mask \S+trainannot/a.png"):
        open_dataset(root)


def test_the_real_one(camvid: Path) -> None:
    train, val = (open_dataset(camvid, split=split) for split in ("train", "val"))
    assert (len(train), len(val), train.format) == (367, 101, "camvid")
    assert len(PALETTE) == len(CLASSES) == 11
    image, label, _ = val.load(0)
    assert image.shape == (360, 480, 3)
    assert label.shape == (360, 480)
    assert image[label == 0].mean() > image[label == 8].mean() + 50  # skies are brighter than cars
    half = open_dataset(camvid, size=(180, 240)).load(0)
    assert half.image.shape == (180, 240, 3)
    assert set(np.unique(half.label)) <= {*range(11), 255}
