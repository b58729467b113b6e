"""PASCAL VOC: ``JPEGImages/*.jpg``, ``SegmentationClass/*.png``, ``ImageSets/Segmentation/{train,val,…}.txt``.

Masks are palette PNG whose indices are the classes; 255 is the border around objects. Lists hold one name per line,
or, as in DeepLab's lists of the augmented set, a picture and its mask (``/JPEGImages/X.jpg
/SegmentationClassAug/X.png``).

Classes and colours: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (the development kit's ``VOClabelcolormap``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segattn_cli.data.dataset import FileDataset, listed_pairs, read_list, require_split

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
PALETTE = np.array(
    [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128],
        [128, 128, 128], [64, 0, 0], [192, 0, 0], [64, 128, 0], [192, 128, 0], [64, 0, 128], [192, 0, 128],
        [64, 128, 128], [192, 128, 128], [0, 64, 0], [128, 64, 0], [0, 192, 0], [128, 192, 0], [0, 64, 128],
    ],
    np.uint8,
)  # fmt: skip
_LISTS = Path("ImageSets", "Segmentation")


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return (root / "JPEGImages").is_dir() and (root / _LISTS).is_dir()


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has a list of."""
    return tuple(sorted(path.stem for path in (root / _LISTS).glob("*.txt")))


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    require_split(split, splits(root), root)
    list_path = root / _LISTS / f"{split}.txt"
    pairs = listed_pairs(root, map(_files, read_list(list_path)), list_path)
    return FileDataset(root.name, "voc", split, CLASSES, PALETTE, pairs, size=size)


def _files(row: list[str]) -> list[str]:
    """Picture and mask of a row, which may name them or be the name that both share."""
    return row if len(row) == 2 else [f"JPEGImages/{row[0]}.jpg", f"SegmentationClass/{row[0]}.png"]
