"""COCO-Stuff: ``images/{train,val}2017/X.jpg`` and ``annotations/{train,val}2017/X.png``, 171 classes.

Masks are the official pixel maps (stuffthingmaps_trainval2017.zip), whose values are the ids of the categories less
one: 0 to 181, of which eleven do not occur, and 255. Where a split has none of these, they are
``X_labelTrainIds.png``, which mmsegmentation makes of them, with 0 to 170 and 255.

Layout and ids: https://github.com/nightrome/cocostuff
"""

from __future__ import annotations

from pathlib import Path

from segattn_cli.data.dataset import IGNORE_LABEL, FileDataset, match_masks, raw_values
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.listing import Listing, list_images
from segattn_cli.data.splits import require_split
from segattn_cli.errors import DataError

_FOLDERS = {"train": "train2017", "val": "val2017"}
_TRAIN_IDS = "_labelTrainIds"
#: Ids of categories that were planned and are in no image.
_ABSENT = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
_VALUES = [category - 1 for category in range(1, 183) if category not in _ABSENT]
_FIRST_STUFF = 91  # what is below are things
_TO_TRAIN_IDS = dict.fromkeys(range(256), IGNORE_LABEL) | {value: index for index, value in enumerate(_VALUES)}


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
        raise DataError(f"{masks} is missing: unpack stuffthingmaps_trainval2017.zip into {root / 'annotations'}.")
    listing = list_images(masks)
    official = {name: path for name, path in listing.images.items() if not name.endswith(_TRAIN_IDS)}
    classes, ending = known_classes("coco-stuff"), _TRAIN_IDS
    if official or not listing.images:
        classes, ending = classes.with_values(_TO_TRAIN_IDS), ""
        listing = Listing(official, listing.left_out)
    files = match_masks(list_images(images), listing, masks, endings=(ending,))
    return FileDataset(root.name, "coco-stuff", split, classes, files, size)


def mistakes(dataset: FileDataset) -> list[str]:
    """Common mistakes in copies of COCO-Stuff; see :func:`segattn_cli.data.formats.recognition.mistakes_of`."""
    values = raw_values(dataset)
    if dataset.class_list.values != _TO_TRAIN_IDS or not values:
        return []
    strange = sorted(values - {*_VALUES, IGNORE_LABEL})
    if strange:
        return [
            f"A mask holds {strange[0]}, which no official map does: ids that count from 1, or masks that were "
            "converted before, would be one off or worse. Use those of stuffthingmaps_trainval2017.zip."
        ]
    if max(values - {IGNORE_LABEL}, default=0) < _FIRST_STUFF:
        return ["No mask has any stuff, but things alone: use the masks of stuffthingmaps_trainval2017.zip."]
    return []
