"""What a check and a training say of a data set before the first step, on whole folders."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from segattn_cli.data import open_dataset
from segattn_cli.data.formats.recognition import decision_of
from segattn_cli.data.inspect import inspect, summarise_problems, summarise_split
from segattn_cli.data.review import review_before_training
from segattn_cli.errors import DataError, ExitCode

LABEL = np.random.default_rng(0).integers(0, 3, (8, 10)).astype(np.uint8)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """``make(train mask, val mask)``: four images of each."""

    def write(train: np.ndarray, val: np.ndarray, **image_options: Any) -> Path:
        for split, mask in (("train", train), ("val", val)):
            for folder, array in (("images", np.zeros((*mask.shape[:2], 3), np.uint8)), ("masks", mask)):
                (tmp_path / folder / split).mkdir(parents=True)
                for number in range(4):
                    options, ending = (image_options, "jpg") if folder == "images" else ({}, "png")
                    Image.fromarray(array).save(tmp_path / folder / split / f"{split}{number}.{ending}", **options)
        (tmp_path / "classes.txt").write_text("sky\nroad\ntree\n")
        return tmp_path

    return write


def said_by_training(root: Path) -> list[str]:
    return review_before_training(open_dataset(root), open_dataset(root, split="val"))


def test_nothing_is_said_of_a_good_one(make: Callable[..., Path]) -> None:
    root = make(LABEL, LABEL)
    assert said_by_training(root) == []
    assert decision_of(open_dataset(root)) == f"classes: 3 from {root}/classes.txt, values as in the masks"


@pytest.mark.parametrize(
    ("train", "val", "sentence"),
    [
        (np.uint8(255) * (LABEL > 1), LABEL, "hold 0 and 255 alone: 255 is void.* foreground must be 1"),
        (LABEL * 0 + 255, LABEL, "train has no labelled pixel"),
        (LABEL, LABEL * 0 + 255, "val has no labelled pixel"),
        (LABEL + 1, LABEL, "seem to count from 1. Subtract 1"),
        (LABEL, LABEL + 7, r"holds the value 7, 8, 9 but there .* The same holds for 3 more: val1.png"),
    ],
)
def test_what_both_refuse(
    make: Callable[..., Path], cli: Callable, train: np.ndarray, val: np.ndarray, sentence: str
) -> None:
    root = make(train.astype(np.uint8), val.astype(np.uint8))
    with pytest.raises(DataError, match=sentence):
        said_by_training(root)
    done = cli("data", "check", root)
    assert done.code == ExitCode.DATA
    assert "✓" not in done.out
    assert re.search(sentence, done.out)


@pytest.mark.parametrize(
    ("train", "val", "sentence"),
    [
        (LABEL, np.minimum(LABEL, 1), "Never in val: tree."),
        (np.minimum(LABEL, 1), LABEL, "Never in train: tree."),
        (LABEL * 0 + 1, LABEL, "labelled pixels of one class alone"),
    ],
)
def test_what_both_say(
    make: Callable[..., Path], cli: Callable, train: np.ndarray, val: np.ndarray, sentence: str
) -> None:
    root = make(train.astype(np.uint8), val.astype(np.uint8))
    assert any(sentence in each for each in said_by_training(root))
    done = cli("data", "check", root)
    assert done.code == 0
    assert sentence in done.out


def test_turned_images_whose_masks_carry_no_tag(make: Callable[..., Path], cli: Callable) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    root = make(LABEL, LABEL, exif=exif.tobytes())
    sentence = "the EXIF orientation turns 4 images, whose masks carry none (train0, train1, "
    assert said_by_training(root)[0].startswith(f"train: {sentence}")
    done = cli("data", "check", root)
    assert sentence in done.out
    assert "✓" not in done.out


@pytest.mark.parametrize("width", [30, 45, 56, 62])
def test_no_number_is_shortened_in_a_narrow_terminal(
    make: Callable[..., Path], cli: Callable, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    root = make(LABEL, LABEL)
    (root / "classes.txt").write_text("an uncommonly long name of a class\nroad\ntree\n")
    monkeypatch.setattr("segattn_cli.commands.shared.terminal.console", lambda: Console(width=width))
    monkeypatch.setattr("segattn_cli.commands.data.console", lambda: Console(width=width))
    monkeypatch.setattr("segattn_cli.commands.shared.tables.console", lambda: Console(width=width))
    shown = cli("data", "check", root).out.split()
    counts = np.bincount(LABEL.ravel())
    for count in counts:
        assert sum(word.startswith(f"{100 * count / LABEL.size:.2f}") for word in shown) >= 2
    assert any(word.startswith("8×10") for word in shown)


def test_how_masks_were_read_is_said_once_with_a_count(make: Callable[..., Path], cli: Callable) -> None:
    root = make(np.stack([LABEL] * 3, -1), np.stack([LABEL, LABEL * 0 + 255], -1))
    alpha = "the mask has an alpha channel, which is opaque everywhere and left out."
    sentences = [
        "train: 4 images (train0, train1, train2, …): the mask is grey saved as RGB, and read as grey.",
        f"val: 4 images (val0, val1, val2, …): {alpha}",
    ]
    assert said_by_training(root) == sentences
    done = cli("data", "check", root)
    assert done.code == 0
    assert all(done.out.count(sentence) == 1 for sentence in sentences)


def test_values_that_were_multiplied_to_be_seen(make: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"seem to be multiplied by 127, to be seen\. Divide all"):
        said_by_training(make(LABEL * 127, LABEL))


@pytest.mark.parametrize("reordered", [True, False])
def test_palettes_that_order_the_same_colours_anew(
    make: Callable[..., Path], cli: Callable, reordered: bool
) -> None:
    root = make(LABEL, LABEL)
    palettes = ([9, 9, 9, 200, 0, 0, 0, 200, 0], [200, 0, 0, 9, 9, 9, 0, 200, 0])
    for number, path in enumerate(sorted((root / "masks" / "train").iterdir())):
        mask = Image.fromarray(LABEL)
        mask.putpalette(palettes[reordered and number == 2])
        mask.save(path)
    sentence = "The colour 200, 0, 0 is the value 1 in the palette of the mask of train0 and 0 in that of train2"
    assert any(sentence in each for each in said_by_training(root)) == reordered
    done = cli("data", "check", root)
    assert (sentence in done.out, "✓" in done.out) == (reordered, not reordered)


@pytest.mark.parametrize("reordered", [True, False])
def test_palettes_that_order_the_colours_of_the_list_anew(
    make: Callable[..., Path], cli: Callable, reordered: bool
) -> None:
    root = make(LABEL, LABEL)
    (root / "classes.txt").write_text("sky 9 9 9\nroad 200 0 0\ntree 0 200 0\n")
    for path in (root / "masks" / "train").iterdir():
        mask = Image.fromarray(LABEL)
        mask.putpalette([9, 9, 9, 0, 200, 0, 200, 0, 0] if reordered else [9, 9, 9, 200, 0, 0, 0, 200, 0])
        mask.save(path)
    sentence = "of the mask of train0, the value 1 (road) has the colour of tree, 0, 200, 0"
    assert any(sentence in each for each in said_by_training(root)) == reordered
    done = cli("data", "check", root)
    assert (sentence in done.out, "✓" in done.out) == (reordered, not reordered)


def test_another_folder_of_masks_is_said(make: Callable[..., Path], cli: Callable) -> None:
    root = make(LABEL, LABEL)
    sentence = "every split: left out: 1 other folders of masks (labels)."
    (root / "labels" / "train").mkdir(parents=True)
    assert sentence not in cli("data", "check", root).out
    Image.fromarray(LABEL).save(root / "labels" / "train" / "train0.png")
    assert sentence in cli("data", "check", root).out


def test_an_empty_split_says_what_is_left_out(make: Callable[..., Path]) -> None:
    root = make(LABEL, LABEL)
    for folder in ("images", "masks"):
        (root / folder / "train").rename(root / folder / "deeper")
        (root / folder / "train").mkdir()
        (root / folder / "deeper").rename(root / folder / "train" / "camera-1")
    with pytest.raises(DataError, match=r"'train' of .* is empty: .* Left out: 2 folders inside \(camera-1, "):
        open_dataset(root)


def test_lists_of_classes_that_contradict_each_other(make: Callable[..., Path], cli: Callable) -> None:
    root = make(LABEL, LABEL)
    (root / "labels.txt").write_text("tree\nroad\nsky\n")
    sentence = "labels.txt names other classes than classes.txt, which is taken: remove the wrong one."
    assert f"train: {sentence}" in said_by_training(root)
    assert sentence in cli("data", "check", root).out


def test_one_missing_mask_hides_nothing(make: Callable[..., Path]) -> None:
    root = make(LABEL, LABEL)
    (root / "masks" / "train" / "train0.png").unlink()
    Image.new("RGB", LABEL.shape[::-1], (9, 8, 7)).save(root / "masks" / "train" / "train1.png")
    dataset = open_dataset(root, partial=True)
    report = summarise_split(dataset, list(inspect(dataset)))
    assert (report.images, len(report.pixels)) == (4, 2)
    first, second = summarise_problems(report.problems)
    assert "train0.jpg has no mask" in first
    assert "train1.png is in colour" in second


def test_the_same_images_in_train_and_val(make: Callable[..., Path]) -> None:
    root = make(LABEL, LABEL)
    for folder in ("images", "masks"):
        for path in (root / folder / "train").iterdir():
            path.rename(root / folder / path.name)
        for split in ("train", "val"):
            for path in (root / folder / split).iterdir():
                path.unlink()
            (root / folder / split).rmdir()
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("train0\ntrain1\n")
    assert "Both train and val have 2 of the images: train0.jpg, train1.jpg." in said_by_training(root)


class TestHoldingOut:
    @pytest.fixture
    def root(self, make: Callable[..., Path]) -> Path:
        root = make(LABEL, LABEL)
        for folder in ("images", "masks"):
            for path in (root / folder / "val").iterdir():
                path.rename(root / folder / "train" / path.name)
            (root / folder / "val").rmdir()
        return root

    def test_a_fraction_by_the_names(self, root: Path) -> None:
        train, val = (open_dataset(root, split=split, val_fraction=0.25) for split in ("train", "val"))
        names = [[each.name_of(index) for index in range(len(each))] for each in (train, val)]
        assert (len(train), len(val)) == (6, 2)
        assert not set(names[0]) & set(names[1])
        assert "0.25 of train held out as val" in decision_of(val)

    def test_without_a_fraction_both_name_the_way_out(self, root: Path, cli: Callable, tmp_path: Path) -> None:
        done = cli("data", "check", root)
        assert done.code == ExitCode.DATA
        assert "has no split 'val': it has train. Hold out a part of train by --val 0.2" in done.out
        assert cli("data", "check", root, "--val", "0.25").code == 0
        for fraction in ("0", "1"):
            done = cli("data", "check", root, "--val", fraction)
            assert done.code == ExitCode.USAGE
            assert "--val must be more than 0 and less than 1" in done.err
        done = cli("train", "--data", root, "--out", tmp_path / "run", "--set", "training.max_steps=1")
        assert done.code == ExitCode.DATA
        assert "Hold out a part of train by --val 0.2" in done.err
