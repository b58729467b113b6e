from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.config import load_config
from segattn_cli.data.dataset import FileDataset
from segattn_cli.data.folds import Content, assign_folds, has_own_val, open_folds, read_contents
from segattn_cli.data.formats.recognition import decision_of, open_dataset
from segattn_cli.errors import ConfigError, DataError
from segattn_cli.prediction.evaluation import open_data_of
from segattn_cli.runs import Model
from segattn_cli.training.setup import open_splits


def name(dataset: FileDataset) -> set[str]:
    return {dataset.name_of(index) for index in range(len(dataset))}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """``make(name, count, split)``: images of noise in a plain folder; every sixth shows the class 2."""

    def write(folder: str, count: int, split: str = "") -> Path:
        root = tmp_path / folder
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = np.random.default_rng(index).integers(0, 256, (6, 8, 3)).astype(np.uint8)
            mask = np.full((6, 8), index % 2, np.uint8)
            if index % 6 == 0:
                mask[0, 0] = 2
            Image.fromarray(image).save(root / "images" / split / f"{index:02}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{index:02}.png")
        (root / "classes.txt").write_text("a\nb\nc\n")
        return root

    return write


def test_every_image_is_held_out_once(make: Callable[..., Path]) -> None:
    root = make("flat", 23)
    held_out: Counter[str] = Counter()
    for fold in range(1, 6):
        train, val = open_folds(root, folds=5, fold=fold)
        assert (train.split, val.split) == ("train", "val")
        assert not name(train) & name(val)
        assert name(train) | name(val) == {f"{index:02}" for index in range(23)}
        assert len(val) in (4, 5)
        held_out.update(name(val))
    assert set(held_out.values()) == {1}
    assert "val: fold 5 of 5 by the content of the images" in decision_of(val)
    assert "train: without fold 5 of 5 by the content of the images" in decision_of(train)


def test_a_rare_class_is_spread_evenly(make: Callable[..., Path]) -> None:
    root = make("flat", 24)  # four images show the class 2
    for fold in range(1, 5):
        _, val = open_folds(root, folds=4, fold=fold)
        assert sum((val.load(index).label == 2).any() for index in range(len(val))) == 1


def test_every_fold_has_its_part_of_each_rare_class() -> None:
    """Dealt out by the digest alone, all images of a rare class would be in one fold."""
    classes = {0: {0, 1}, 1: {0, 2}}
    contents = [Content(f"{index:03}", frozenset(classes.get(index % 5, {0}))) for index in range(60)]
    numbers = assign_folds(contents, 5)
    for rare in (1, 2):
        parts = Counter(
            number for number, content in zip(numbers, contents, strict=True) if rare in content.classes
        )
        assert sorted(parts.values()) == [2, 2, 2, 3, 3]
    assert set(Counter(numbers).values()) == {12}


def test_names_folders_and_order_do_not_matter(make: Callable[..., Path], tmp_path: Path) -> None:
    root = make("flat", 12)
    renamed = tmp_path / "renamed"
    for kind in ("images", "masks"):
        (renamed / kind / "train").mkdir(parents=True)
        for index in range(12):
            shutil.copy(root / kind / f"{index:02}.png", renamed / kind / "train" / f"x{11 - index:02}.png")
    shutil.copy(root / "classes.txt", renamed)
    for fold in (1, 2, 3):
        _, before = open_folds(root, folds=3, fold=fold)
        _, after = open_folds(renamed, folds=3, fold=fold)
        assert {f"x{11 - int(each):02}" for each in name(before)} == name(after)


def test_the_folds_are_not_those_of_the_names(make: Callable[..., Path]) -> None:
    """Other pixels under the same names are in other folds."""
    root = make("flat", 20)
    _, before = open_folds(root, folds=4, fold=1)
    for path in (root / "images").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    _, after = open_folds(root, folds=4, fold=1)
    assert name(before) != name(after)


def test_a_split_val_is_not_used(make: Callable[..., Path]) -> None:
    root = make("both", 10, "train")
    make("both", 4, "val")
    train, val = open_folds(root, folds=2, fold=1)
    assert len(train) == len(val) == 5
    assert all(pair.image.parent.name == "train" for pair in (*train.pairs, *val.pairs))
    assert has_own_val(root)
    assert not has_own_val(make("flat", 10))


def test_equal_files_are_in_one_fold() -> None:
    a, b = frozenset({0}), frozenset({1})
    contents = [Content("same", a), Content("x", a), Content("same", b), Content("y", b), Content("z", a)]
    for folds in (2, 3, 4):
        numbers = assign_folds(contents, folds)
        assert numbers[0] == numbers[2]
        assert set(numbers) == set(range(1, folds + 1))


def test_ignored_pixels_are_no_class(make: Callable[..., Path]) -> None:
    root = make("flat", 4)
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(root / "masks" / "03.png")
    dataset = open_dataset(root, split="all")
    assert isinstance(dataset, FileDataset)
    contents = read_contents(dataset)
    assert [content.classes for content in contents] == [{0, 2}, {1}, {0}, set()]
    assert len({content.digest for content in contents}) == 4


def test_too_few_images(make: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"has 3 different images, fewer than data\.folds = 5: lower"):
        open_folds(make("flat", 3), folds=5, fold=1)


def test_scenes_have_no_folds() -> None:
    with pytest.raises(ConfigError, match=r"^data\.folds divides the files of a folder; scenes are drawn"):
        open_folds("scenes", folds=5, fold=1)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.fold=2"], "data.fold must be for data.folds only, got 2."),
        (["data.folds=3", "data.fold=4"], "data.fold must be at most data.folds = 3, got 4."),
        (["data.folds=1"], "data.folds must be greater than or equal to 2, got 1."),
        (
            ["data.folds=3", "data.val_fraction=0.2"],
            "data.val_fraction holds out a part of train, and so does data.folds: set one of them.",
        ),
        (
            ["data.folds=3", "data.val_split=test"],
            'data.val_split must be val with data.folds, which makes that split, got test.',
        ),
    ],
)
def test_a_mistake_in_the_configuration(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("tiny-scenes", overrides)
    assert str(error.value) == sentence


def test_a_training_and_its_evaluation_have_the_same_images(make: Callable[..., Path], tmp_path: Path) -> None:
    root = make("flat", 12)
    config = load_config(
        "tiny-scenes", [f"data.source={root}", "data.folds=3", "data.fold=2", "data.size=[12, 16]"]
    )
    train, val = open_splits(config)
    assert isinstance(train, FileDataset)
    assert isinstance(val, FileDataset)
    assert (len(train), len(val)) == (8, 4)
    assert train.load(0).image.shape == (12, 16, 3)
    assert val.load(0).image.shape == (6, 8, 3)  # labels keep their size
    model = Model(None, {}, config, train.classes, train.palette, {}, tmp_path)  # type: ignore[arg-type]
    copy = shutil.copytree(root, tmp_path / "copy")
    for dataset, wanted in (
        (open_data_of(model), val),
        (open_data_of(model, split="train"), train),
        (open_data_of(model, str(copy)), val),
    ):
        assert isinstance(dataset, FileDataset)
        assert name(dataset) == name(wanted)
    other = make("both", 10, "train")
    make("both", 4, "val")
    assert len(open_data_of(model, str(other))) == 4  # its own val
