"""Cityscapes: ``{leftImg8bit,gtFine}/{train,val,test}/CITY/CITY_SEQ_FRAME_…``, 19 classes of street scenes.

Masks are ``…_gtFine_labelIds.png``, whose 34 ids are mapped to the 19 train ids when they are read, or, where a
split has none of these, ``…_gtFine_labelTrainIds.png`` as cityscapesScripts makes them. What is not evaluated is
ignored. The masks of ``test`` are dummies: the benchmark keeps the truth. ``train_extra`` has coarse masks, in
``gtCoarse``.

Layout and ids: https://github.com/mcordts/cityscapesScripts
"""

from __future__ import annotations

from pathlib import Path

from segattn_cli.data.dataset import IGNORE_LABEL, FileDataset, match_masks, raw_values
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.listing import LeftOut, Listing, list_images, subfolders
from segattn_cli.data.splits import require_split
from segattn_cli.errors import DataError

#: The id of each train id, in their order.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_IMAGES = "leftImg8bit"
_SPLITS = ("train", "val", "test", "train_extra")
#: What no class has is ignored, and any value may occur.
_TO_TRAIN_IDS = dict.fromkeys(range(256), IGNORE_LABEL) | {label: train_id for train_id, label in enumerate(IDS)}


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return bool(splits(root))


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has images of."""
    return tuple(split for split in _SPLITS if (root / _IMAGES / split).is_dir())


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    require_split(split, splits(root), root)
    kind = "gtCoarse" if split == "train_extra" else "gtFine"
    archive = "gtCoarse.zip" if split == "train_extra" else "gtFine_trainvaltest.zip"
    masks = root / kind / split
    if not masks.is_dir():
        raise DataError(f"{masks} is missing: unpack {archive} into {root}, too.")
    classes = known_classes("cityscapes")
    ending, class_list = f"_{kind}_labelIds", classes.with_values(_TO_TRAIN_IDS)
    labels = _by_frame(masks, ending)
    if not labels.images:
        ending, class_list = f"_{kind}_labelTrainIds", classes
        labels = _by_frame(masks, ending)
    if not labels.images:
        raise DataError(f"{masks} has no *_{kind}_labelIds.png: unpack {archive} into {root} again.")
    images = _by_frame(root / _IMAGES / split, f"_{_IMAGES}")
    frames = {name.removesuffix(f"_{_IMAGES}"): path for name, path in images.images.items()}
    files = match_masks(Listing(frames, images.left_out), labels, masks, endings=(ending,))
    return FileDataset(root.name, "cityscapes", split, class_list, files, size)


def mistakes(dataset: FileDataset) -> list[str]:
    """Common mistakes in copies of Cityscapes; see :func:`segattn_cli.data.formats.recognition.mistakes_of`."""
    values = raw_values(dataset)
    are_ids = dataset.class_list.values == _TO_TRAIN_IDS
    if are_ids and IGNORE_LABEL in values and values <= {*range(19), IGNORE_LABEL}:  # no label id is 255
        return [
            "The files called labelIds hold train ids (0 to 18 and 255): call them _gtFine_labelTrainIds.png, or "
            "unpack gtFine_trainvaltest.zip again."
        ]
    if dataset.split == "test":
        return ["The masks of test are dummies: predict with segattn infer --submission cityscapes instead."]
    return []


def _by_frame(folder: Path, ending: str) -> Listing:
    """The files of all cities whose names end so, by city and name: ``ulm/ulm_000001_000019_leftImg8bit``."""
    frames: dict[str, Path] = {}
    left_out: list[LeftOut] = []
    for city, path in sorted(subfolders(folder).items()):
        listing = list_images(path)
        left_out += listing.left_out
        frames |= {f"{city}/{name}": path for name, path in listing.images.items() if name.endswith(ending)}
    return Listing(frames, left_out if ending == f"_{_IMAGES}" else [])  # beside masks lie polygons and colours
