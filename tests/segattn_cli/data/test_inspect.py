from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn_cli.data import open_dataset
from segattn_cli.data.inspect import SplitReport, inspect, summarise_split


@pytest.fixture
def root(tmp_path: Path, save_pair: Callable[..., None], label: np.ndarray) -> Path:
    for name in "abcde":
        save_pair(tmp_path / "images/train" / f"{name}.png", tmp_path / "masks/train" / f"{name}.png", label)
    (tmp_path / "classes.txt").write_text("sky\nroad\ntree\n")
    return tmp_path


def report_on(root: Path) -> SplitReport:
    dataset = open_dataset(root)
    return summarise_split(dataset, list(inspect(dataset)))


def test_pixels_sizes_and_void_are_counted(root: Path, save_pair: Callable[..., None]) -> None:
    save_pair(root / "images/train/f.png", root / "masks/train/f.png", np.full((2, 6), 255, np.uint8))
    report = report_on(root)
    assert report.images == 6
    assert list(report.sizes.items()) == [((3, 4), 5), ((2, 6), 1)]
    assert report.pixels.tolist() == [[4, 4, 2]] * 5 + [[0, 0, 0]]
    assert report.class_pixels.tolist() == [20, 20, 10]
    assert report.ignored_fraction == (5 * 2 + 12) / (5 * 12 + 12)
    assert report.unlabelled_images == 1
    assert report.problems == ()


def test_every_bad_file_is_reported_and_the_rest_counted(root: Path, save_pair: Callable[..., None]) -> None:
    (root / "images/train/a.png").write_bytes(b"no picture")
    (root / "masks/train/b.png").write_bytes(b"")
    save_pair(root / "other.png", root / "masks/train/c.png", np.zeros((9, 9), np.uint8))
    Image.new("RGB", (4, 3), (9, 8, 7)).save(root / "masks/train/d.png")
    report = report_on(root)
    named = [problem.sentence.split("train/")[1].split()[0] for problem in report.problems]
    assert named == ["a.png", "b.png", "c.png", "d.png"]
    for problem, wanted in zip(report.problems, ("no image", "is empty", "9×9", "in colour"), strict=True):
        assert wanted in problem.sentence
    assert len(report.pixels) == 1
    assert report.images == 5


def test_leaving_early_reads_no_more(memory: Callable) -> None:
    dataset = memory(200)
    found = inspect(dataset, workers=2)
    next(found)
    found.close()
    assert len(dataset.loaded) < 200


def test_for_json(root: Path) -> None:
    assert report_on(root).as_dict(("sky", "road", "tree")) == {
        "pictures": 5,
        "readable": 5,
        "sizes": [{"height": 3, "width": 4, "pictures": 5}],
        "class_pixels": {"sky": 20, "road": 20, "tree": 10},
        "class_pictures": {"sky": 5, "road": 5, "tree": 5},
        "void_share": pytest.approx(1 / 6),
        "wholly_void": 0,
        "problems": [],
        "mistakes": [],
        "values": [0, 1, 2, 255],
        "notes": {},
        "left_out": [],
    }
