"""ADE20K's scene parsing benchmark: ``{images,annotations}/{training,validation}/ADE_…``, 150 classes.

Masks hold the number of a class from 1 on, and 0 for what belongs to none. The splits are also called ``train`` and
``val``.

Layout: https://github.com/CSAILVision/sceneparsing (ADEChallengeData2016.zip)
"""

from __future__ import annotations

from pathlib import Path

from segattn_cli.data.dataset import IGNORE_LABEL, FileDataset, match_masks, raw_values
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.listing import list_images
from segattn_cli.data.splits import require_split
from segattn_cli.errors import DataError

_FOLDERS = {"train": "training", "val": "validation"}
_CLASSES = 150
_FROM_1 = {0: IGNORE_LABEL} | {number: number - 1 for number in range(1, _CLASSES + 1)}


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return bool(splits(root)) and not (root / "masks").is_dir()  # else plain folders with splits of these names


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has images of."""
    return tuple(split for split, folder in _FOLDERS.items() if (root / "images" / folder).is_dir())


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``, by either of its names; see :func:`segattn_cli.data.open_dataset`."""
    split = next((name for name, folder in _FOLDERS.items() if folder == split), split)
    require_split(split, splits(root), root)
    images, masks = root / "images" / _FOLDERS[split], root / "annotations" / _FOLDERS[split]
    if not masks.is_dir():
        raise DataError(
            f"{masks} is missing: unpack ADEChallengeData2016.zip again (the full ADE20K, with masks called "
            "…_seg.png, is another data set)."
        )
    files = match_masks(list_images(images), list_images(masks), masks)
    return FileDataset(root.name, "ade20k", split, known_classes("ade20k").with_values(_FROM_1), files, size)


def mistakes(dataset: FileDataset) -> list[str]:
    """Common mistakes in copies of ADE20K; see :func:`segattn_cli.data.formats.recognition.mistakes_of`."""
    if IGNORE_LABEL in raw_values(dataset):
        return [
            "The masks have 255, which the original ones have not: they have been shifted to begin with 0 already, "
            "so every class would be one off. Unpack ADEChallengeData2016.zip again."
        ]
    return []
