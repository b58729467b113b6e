"""The configuration that `data check --suggest` prints: what follows from the data, and that it trains."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.config import Config, config_from
from segattn_cli.data import open_dataset
from segattn_cli.data.dataset import FileDataset
from segattn_cli.data.inspect import SplitReport, inspect, summarise_split
from segattn_cli.data.segments import Segments, measure_segments
from segattn_cli.errors import DataError
from segattn_cli.training.sizes import size_warnings
from segattn_cli.training.suggestion import DataFacts, suggest

from ..aerial import write_aerial


def facts(
    size: tuple[int, int] = (360, 480), images: int = 367, pixels: Sequence[int] = (900, 90, 10), **changes: Any
) -> DataFacts:
    """Those of a data set like CamVid, but for ``changes``."""
    report = SplitReport("train", images, {size: images}, np.array([pixels] * images), 0, ())
    known = {
        "source": "streets", "format": "camvid", "is_divided": True, "val_images": 101,
        "classes": ("road", "car", "pole"), "segments": Segments(37.0, 0.8),
    }  # fmt: skip
    return DataFacts(train=report, **known | changes)


def suggested(*args: Any, cores: int = 2, **changes: Any) -> Config:
    return suggest(facts(*args, **changes), cores).config


def test_streets_from_a_car() -> None:
    config = suggested()
    assert config.data.source == str(Path("streets").absolute())
    assert (config.data.format, config.data.folds, config.data.val_fraction) == ("camvid", None, None)
    assert config.augmentation.crop == (192, 240)
    assert config.augmentation.scale == (0.75, 1.5)
    assert (config.augmentation.flip_vertical, config.augmentation.rotation) == (0, 0)
    assert config.evaluation.scales == (1.0,)
    assert (config.loss.class_weights, config.loss.class_weight_offset) == ("log", 1.1)


def test_images_from_above_are_turned() -> None:
    config = suggested(segments=Segments(40.0, 0.05))
    assert (config.augmentation.flip_vertical, config.augmentation.rotation) == (0.5, 180)


@pytest.mark.parametrize(
    ("size", "width", "factor"),
    [
        ((360, 480), 500.0, 1.0),  # the shorter side would be too short
        ((1024, 2048), 30.0, 1.0),  # the segments would be too narrow
        ((1080, 1920), 64.0, 0.5),
        ((3000, 4000), 300.0, 1 / 8),
        ((3000, 4000), 100.0, 1 / 3),
    ],
)
def test_large_images_of_large_things_are_shrunk(size: tuple[int, int], width: float, factor: float) -> None:
    config = suggested(size, segments=Segments(width, 0.5))
    assert config.evaluation.scales == pytest.approx((factor,), rel=0.01)
    assert config.augmentation.scale == pytest.approx((0.75 * factor, 1.5 * factor), rel=0.01)
    assert size_warnings(config, open_dataset("scenes")) == ()


def test_crops_fit_into_small_images() -> None:
    assert suggested((100, 70)).augmentation.crop == (96, 64)
    assert suggested((5, 40)).augmentation.crop == (5, 32)
    assert suggested((2000, 2000), segments=Segments(10.0, 0.5)).augmentation.crop == (384, 384)


def test_images_that_take_much_memory_are_predicted_in_windows() -> None:
    assert suggested((5000, 5000), segments=Segments(20.0, 0.1)).evaluation.window == (768, 768)
    assert suggested().evaluation.window is None


@pytest.mark.parametrize(
    ("changes", "folds", "fraction"),
    [
        ({}, None, None),
        ({"val_images": 0}, None, 0.2),
        ({"val_images": 0, "images": 40}, 5, None),
        ({"val_images": 0, "images": 40, "val_fraction": 0.3}, None, 0.3),
        ({"val_images": 8, "images": 32, "is_divided": False}, 5, None),
        ({"val_images": 8, "images": 32}, None, None),
        ({"val_images": 80, "images": 320, "is_divided": False}, None, None),
    ],
)
def test_what_is_validated_on(changes: dict[str, Any], folds: int | None, fraction: float | None) -> None:
    config = suggested(**changes)
    assert (config.data.folds, config.data.val_fraction) == (folds, fraction)


def test_names_cannot_break_out_of_a_comment() -> None:
    names = ("road", "car", "po\nle = 3 \x1b[31m")
    suggestion = suggest(facts(classes=names, source='a "b"\\c\nd'), 2)
    assert config_from(tomllib.loads(suggestion.as_toml())) == suggestion.config


def test_very_few_images() -> None:
    assert suggested(images=3, val_images=0).data.folds == 3
    with pytest.raises(DataError, match=r"^streets has a single image: add one or more to validate on\.$"):
        suggested(images=1, val_images=0)


def test_weights_where_a_class_is_rare() -> None:
    assert suggested(pixels=(50, 30, 20)).loss.class_weights is None
    assert suggested(pixels=(500, 3, 0)).loss.class_weights == "log"  # the third never occurs
    (choice,) = (each for each in suggest(facts()).choices if each.key == "loss.class_weights")
    assert choice.reason.startswith("pole has 1 % of the labelled pixels and road 90 %:")


def test_an_hour_is_filled_and_not_exceeded() -> None:
    one, two, four = (suggested(cores=cores) for cores in (1, 2, 4))
    assert one.training.max_steps is not None
    assert two.training.max_steps is not None
    assert four.training.max_steps is not None
    assert 3.8 < four.training.max_steps / one.training.max_steps < 4.5
    (choice,) = (each for each in suggest(facts(), 2).choices if each.key == "training.max_steps")
    minutes = int(choice.reason.partition("about ")[2].split()[0])
    assert 50 <= minutes <= 60
    epochs = two.training.max_steps / (367 // 8)
    assert two.evaluation.every is not None
    assert 15 <= epochs / two.evaluation.every <= 25


def test_a_few_images_are_not_shown_for_an_hour() -> None:
    config = suggested(images=24, val_images=10)
    assert config.training.max_steps == 1500  # 500 epochs of 3 batches
    assert config.evaluation.every == 25


def test_a_large_validation_set_is_limited() -> None:
    config = suggested((1024, 2048), images=2975, val_images=500, segments=Segments(30.0, 0.8))
    assert config.evaluation.limit is not None
    assert 5 < config.evaluation.limit < 100
    assert suggested().evaluation.limit is None


def test_batches_have_no_more_images_than_there_are() -> None:
    assert suggested(images=6, val_images=0).training.batch_size == 5  # one is in the fold
    assert suggested().training.batch_size == 8


def test_above_each_key_is_its_reason() -> None:
    suggestion = suggest(facts((3000, 4000), segments=Segments(20.0, 0.05), val_images=0, images=50), 2)
    text = suggestion.as_toml()
    assert config_from(tomllib.loads(text)) == suggestion.config
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) == len(suggestion.choices) > 20
    assert all(lines[number - 1].startswith("# ") for number in keys)
    assert max(map(len, lines)) <= 110


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh folder of images from above."""
    return write_aerial(tmp_path_factory.mktemp("data") / "tiles", count=40, side=64)


def test_drawn_images_from_above_are_recognised_as_such(tiles: Path) -> None:
    above = measure_segments(open_dataset(tiles, split="all"))
    street = measure_segments(open_dataset("scenes"))
    assert above.uprightness < 0.15
    assert street.uprightness > 0.6
    assert 5 < above.width < 25


def test_the_width_of_segments_is_that_of_runs(tmp_path: Path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[:, 4:8] = 1  # runs of 4 in rows, of 12 in columns
    for kind, array in (("images", np.zeros((12, 12, 3), np.uint8)), ("masks", mask)):
        (tmp_path / kind).mkdir()
        Image.fromarray(array).save(tmp_path / kind / "a.png")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    width, uprightness = measure_segments(open_dataset(tmp_path, split="all"))
    assert width == 2 * 144 / (36 + 12)
    assert uprightness == 0


def test_the_report_says_what_the_command_reads(tiles: Path) -> None:
    """The median size and the number of pixels come from a real report, too."""
    dataset = open_dataset(tiles, split="all")
    assert isinstance(dataset, FileDataset)
    report = summarise_split(dataset, list(inspect(dataset)))
    found = DataFacts(str(tiles), "folder", False, report, 0, dataset.classes, measure_segments(dataset))
    assert suggest(found, 2).config.augmentation.crop == (64, 64)
