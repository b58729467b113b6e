"""Miniatures of data sets: a few pixels an image, folders and names as the originals have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (4, 6)


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 120, 60)).save(path)


def mask(path: Path, *values: int) -> None:
    """A mask that holds ``values``, repeated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, np.uint8), SIZE)).save(path)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def cityscapes(root: Path, kind: str = "labelIds", values: tuple[int, ...] = (7, 8, 33, 0, 1)) -> Path:
    for split, city in (("train", "aachen"), ("train", "ulm"), ("val", "lindau"), ("test", "berlin")):
        name = f"{city}_000001_000019"
        image(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        for each in (kind, "instanceIds", "color"):
            mask(root / "gtFine" / split / city / f"{name}_gtFine_{each}.png", *values)
        text(root / "gtFine" / split / city / f"{name}_gtFine_polygons.json", "{}")
    return root


def ade20k(root: Path, values: tuple[int, ...] = (0, 1, 2, 150)) -> Path:
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        image(root / "images" / split / f"{name}.jpg")
        mask(root / "annotations" / split / f"{name}.png", *values)
    text(root / "objectInfo150.txt", "Idx Ratio Train Val Name")
    return root


def voc(root: Path, values: tuple[int, ...] = (0, 20, 255)) -> Path:
    for name in ("2007_000032", "2008_000006"):
        image(root / "JPEGImages" / f"{name}.jpg")
        mask(root / "SegmentationClassAug" / f"{name}.png", 0, 3)
    mask(root / "SegmentationClass" / "2007_000032.png", *values)
    text(root / "ImageSets" / "Segmentation" / "train.txt", "2007_000032")
    text(root / "ImageSets" / "Segmentation" / "val.txt", "2007_000032")
    text(root / "ImageSets" / "Segmentation" / "trainaug.txt", "2008_000006", "2007_000032")
    return root


def person_part(root: Path, values: tuple[int, ...] = (0, 1, 6, 255)) -> Path:
    for name in ("2008_000026", "2008_000041"):
        image(root / "JPEGImages" / f"{name}.jpg")
        mask(root / "pascal_person_part_gt" / f"{name}.png", *values)
    lists = root / "pascal_person_part_trainval_list"
    text(lists / "train.txt", "/JPEGImages/2008_000026.jpg /pascal_person_part_gt/2008_000026.png")
    text(lists / "val.txt", "/JPEGImages/2008_000041.jpg /pascal_person_part_gt/2008_000041.png")
    text(lists / "train_id.txt", "2008_000026")
    return root


def coco_stuff(root: Path, values: tuple[int, ...] = (0, 10, 12, 181, 255), ending: str = "") -> Path:
    for split, name in (("train2017", "000000000009"), ("val2017", "000000000139")):
        image(root / "images" / split / f"{name}.jpg")
        mask(root / "annotations" / split / f"{name}{ending}.png", *values)
    return root


def camvid(root: Path) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        image(root / split / f"0001TP_00669{number}.png")
        mask(root / f"{split}annot" / f"0001TP_00669{number}.png", 0, 10, 11)
    return root


def folder(root: Path) -> Path:
    for split in ("train", "val"):
        image(root / "images" / split / "a.jpg")
        mask(root / "masks" / split / "a.png", 0, 1, 255)
    text(root / "classes.txt", "sky", "road")
    return root
