"""PASCAL VOC 2012: ``JPEGImages/*.jpg``, ``SegmentationClass/*.png``, ``ImageSets/Segmentation/{train,val,…}.txt``.

Masks are palette PNG whose indices are the classes; 255 is the border around objects. Lists hold one name per line,
or, as in DeepLab's lists of the augmented set, a picture and its mask (``/JPEGImages/X.jpg
/SegmentationClassAug/X.png``). The masks of a list whose name ends in ``aug`` are in ``SegmentationClassAug``:
those of Hariharan et al. (ICCV 2011), which make 10,582 pictures to train on of 1,464. What that folder lacks is
taken from ``SegmentationClass``: some pictures of the list are labelled in VOC alone.

Layout: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

from __future__ import annotations

from pathlib import Path

from segattn_cli.data.dataset import FileDataset, listed_pairs, raw_values, read_list, require_split
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.errors import DataError

_LISTS = Path("ImageSets", "Segmentation")
_AUGMENTED = "SegmentationClassAug"


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return (root / "JPEGImages").is_dir() and (root / _LISTS).is_dir()


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has a list of."""
    return tuple(sorted(path.stem for path in (root / _LISTS).glob("*.txt")))


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    list_path = root / _LISTS / f"{split}.txt"
    if split.endswith("aug") and not list_path.is_file():
        raise DataError(
            f"{list_path} is missing: the augmented set is a download of its own (docs/data.md); without it, train "
            "on the split train."
        )
    require_split(split, splits(root), root)
    masks = [_AUGMENTED, "SegmentationClass"] if split.endswith("aug") else ["SegmentationClass"]
    rows = read_list(list_path)
    if any(len(row) == 1 for row in rows) and not (root / masks[0]).is_dir():
        folder = root / masks[0]
        raise DataError(f"{folder} is missing, where the masks of {split} should be as PNG: add the folder.")
    rows = [row if len(row) == 2 else [f"JPEGImages/{row[0]}.jpg", _mask(root, masks, row[0])] for row in rows]
    pairs = listed_pairs(root, rows, list_path)
    return FileDataset(root.name, "voc", split, known_classes("voc"), pairs, size)


def mistakes(dataset: FileDataset) -> list[str]:
    """What is often wrong with a VOC: see :func:`segattn_cli.data.formats.registry.mistakes_of`."""
    if 255 in raw_values(dataset) or dataset.split.endswith("aug"):
        return []
    return [
        "No mask has 255, the border around objects: they are not the original ones, and borders count as a class."
    ]


def _mask(root: Path, folders: list[str], name: str) -> str:
    """The mask called ``name`` in the first of the ``folders`` that has it."""
    candidates = [f"{folder}/{name}.png" for folder in folders]
    return next((path for path in candidates if (root / path).is_file()), candidates[0])
