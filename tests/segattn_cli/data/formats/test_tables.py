"""The tables that no shape betrays: one swapped line trains, and is wrong."""

from __future__ import annotations

from segattn_cli.data.formats.cityscapes import IDS
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.formats.coco_stuff import _VALUES


def test_cityscapes_ids() -> None:
    """cityscapesscripts/helpers/labels.py."""
    assert dict(zip(known_classes("cityscapes").names, IDS, strict=True)) == {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
        "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
        "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip


def test_coco_stuff_gaps() -> None:
    """labels.md of nightrome/cocostuff: before each category that was removed, and after it."""
    ids = {name: value + 1 for name, value in zip(known_classes("coco-stuff").names, _VALUES, strict=True)}
    around = {
        "fire hydrant": 11, "stop sign": 13, "giraffe": 25, "backpack": 27, "umbrella": 28, "handbag": 31,
        "bottle": 44, "wine glass": 46, "bed": 65, "dining table": 67, "toilet": 70, "tv": 72,
        "refrigerator": 82, "book": 84, "toothbrush": 90, "banner": 92, "wood": 182,
    }  # fmt: skip
    assert {name: ids[name] for name in around} == around


def test_person_part_order() -> None:
    assert known_classes("person-part").names == (
        "background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs",
    )  # fmt: skip
