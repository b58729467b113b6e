from __future__ import annotations

from time import thread_time
from zlib import crc32

import numpy as np
import pytest
from scipy import ndimage

from segattn_cli.data import SceneOptions, Scenes, stream
from segattn_cli.data.formats.scenes import CAR, CLASSES, PALETTE, PLAZA, ROAD, SKY, draw_scene
from segattn_cli.errors import DataError

SOME = [Scenes("train", SceneOptions()).load(index) for index in range(60)]


@pytest.mark.parametrize(
    ("split", "index", "seed", "image", "label"),
    [
        ("train", 0, 0, 769096200, 1527464060),
        ("val", 7, 0, 575969514, 2880741655),
        ("test", 3, 11, 1716837321, 1414279084),
    ],
)
def test_images_stay_what_they_are(split: str, index: int, seed: int, image: int, label: int) -> None:
    """Results of different days can be compared only on the same images."""
    sample = Scenes(split, SceneOptions(size=(48, 64), seed=seed)).load(index)
    assert (crc32(sample.image.tobytes()), crc32(sample.label.tobytes())) == (image, label)


def test_an_image_depends_on_its_index_alone() -> None:
    scenes, again = Scenes("val", SceneOptions()), Scenes("val", SceneOptions(count=5))
    last = scenes.load(4)
    scenes.load(0)
    np.testing.assert_array_equal(again.load(4).image, last.image)


def test_splits_seeds_and_indices_give_different_images() -> None:
    kinds = [(split, seed) for split in ("train", "val", "test") for seed in (0, 1)]
    checksums = {
        crc32(Scenes(split, SceneOptions(seed=seed)).load(index).image.tobytes())
        for split, seed in kinds
        for index in range(5)
    }
    assert len(checksums) == len(kinds) * 5


@pytest.mark.parametrize("index", range(20))
def test_only_the_sky_tells_the_road_from_the_plaza(index: int) -> None:
    """The same random numbers by day and in the evening: only the sky differs, and the name of the asphalt."""
    day, day_label = draw_scene(stream("test", 0, index), (96, 128), evening=False)
    evening, evening_label = draw_scene(stream("test", 0, index), (96, 128), evening=True)
    assert not (day_label == PLAZA).any()
    np.testing.assert_array_equal(np.where(day_label == ROAD, PLAZA, day_label), evening_label)
    sky = day_label == SKY
    np.testing.assert_array_equal(day[~sky], evening[~sky])
    colours = [picture[sky].mean(0) for picture in (day, evening)]
    assert colours[0][2] - colours[0][0] > 40  # blue by day
    assert colours[1][0] - colours[1][2] > 60  # orange in the evening


def test_the_sky_is_far_from_the_asphalt() -> None:
    for _, label, _ in SOME:
        rows = np.arange(96)[:, None]
        lowest_sky = rows[(label == SKY).any(1)].max() + 1
        highest_asphalt = rows[((label == ROAD) | (label == PLAZA)).any(1)].min()
        assert highest_asphalt - lowest_sky >= 0.40 * 96
        assert (label == SKY).mean() > 0.12


def test_day_and_evening_take_turns() -> None:
    for index, (_, label, _) in enumerate(SOME):
        assert (label == (PLAZA, ROAD)[index % 2]).sum() == 0
        assert (label == (ROAD, PLAZA)[index % 2]).any()


def test_cars_are_tiny_and_huge() -> None:
    areas = []
    for _, label, _ in SOME:
        parts, count = ndimage.label(label == CAR)
        areas += ndimage.sum_labels(np.ones_like(label), parts, range(1, count + 1)).tolist()
    assert sum(area < 50 for area in areas) >= 8  # pixels, of 12,288
    assert sum(area > 1200 for area in areas) >= 8


def test_every_class_is_worth_learning() -> None:
    shares = np.mean([np.bincount(label.ravel(), minlength=8) / label.size for _, label, _ in SOME], axis=0)
    assert len(CLASSES) == len(PALETTE) == 8
    assert shares.min() > 0.015
    assert shares.max() < 0.45


def test_a_scene_is_the_same_at_every_size() -> None:
    small, large = (Scenes("val", SceneOptions(size=size)).load(2).label for size in ((96, 128), (288, 384)))
    assert (large[1::3, 1::3] == small).mean() > 0.97


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (37, 53), (96, 3000), (256, 512)])
def test_any_size(size: tuple[int, int]) -> None:
    image, label, _ = Scenes("train", SceneOptions(size=size)).load(0)
    assert image.shape == (*size, 3)
    assert label.shape == size
    assert image.dtype == label.dtype == np.uint8
    assert label.max() < len(CLASSES)


def test_drawing_is_quick() -> None:
    scenes, seconds = Scenes("train", SceneOptions()), []
    for index in range(20):
        begin = thread_time()
        scenes.load(index)
        seconds.append(thread_time() - begin)
    assert min(seconds) < 0.010


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match=r"no split 'trainval': choose from train, val, test"):
        Scenes("trainval", SceneOptions())
    with pytest.raises(DataError, match=r"at least one image and one pixel"):
        Scenes("train", SceneOptions(count=0))
    with pytest.raises(DataError, match=r"at least one image and one pixel"):
        Scenes("train", SceneOptions(size=(0, 8)))
