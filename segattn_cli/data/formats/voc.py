"""PASCAL VOC 2012: ``JPEGImages/*.jpg``, ``SegmentationClass/*.png``, ``ImageSets/Segmentation/{train,val,…}.txt``.

Masks are palette PNG whose indices are the classes; 255 is the border around objects. Lists hold one name per line,
or, as in DeepLab's lists of the augmented set, an image and its mask (``/JPEGImages/X.jpg
/SegmentationClassAug/X.png``). The masks of a list whose name ends in ``aug`` are in ``SegmentationClassAug``:
those of Hariharan et al. (ICCV 2011), which make 10,582 images to train on of 1,464. What that folder lacks is
taken from ``SegmentationClass``: some images of the list are labelled in VOC alone.

Without lists, or with none but CVAT's ``default.txt``, splits are drawn as for plain folders.

Layout: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segattn_cli.data.dataset import FileDataset, Files, listed_files, match_masks, raw_values
from segattn_cli.data.formats.class_lists import known_classes
from segattn_cli.data.listing import list_images, name_key
from segattn_cli.data.lists import ListRow, Tree, read_rows
from segattn_cli.data.splits import DRAWN, draw_split, require_split
from segattn_cli.errors import DataError

_IMAGES, _MASKS, _AUGMENTED = "JPEGImages", "SegmentationClass", "SegmentationClassAug"
_LISTS = Path("ImageSets", "Segmentation")
_DRAWN = "split by file name"
_WHOLE = "default"  # CVAT's list of everything


def recognise(root: Path) -> bool:
    """Whether ``root`` looks like this layout."""
    return (root / _IMAGES).is_dir() and ((root / _LISTS).is_dir() or (root / _MASKS).is_dir())


def splits(root: Path) -> tuple[str, ...]:
    """The splits that ``root`` has a list of, or those that are drawn where there is none."""
    lists = _lists(root)
    if set(lists) - {_WHOLE} or not (root / _IMAGES).is_dir():
        return tuple(lists)
    return ("train", "val", _WHOLE) if lists else DRAWN


def open_split(root: Path, split: str, size: tuple[int, int] | None) -> FileDataset:
    """Open ``split``; see :func:`segattn_cli.data.open_dataset`."""
    list_path = _lists(root).get(split)
    if split.endswith("aug") and list_path is None:
        raise DataError(
            f"{root / _LISTS / split}.txt is missing: the augmented set is a download of its own, whose masks "
            f"belong into {root / _AUGMENTED}; without it, train on the split train."
        )
    require_split(split, splits(root), root)
    folders = (_AUGMENTED, _MASKS) if split.endswith("aug") else (_MASKS,)
    files = _drawn(root, split) if list_path is None else _listed(root, list_path, folders)
    return FileDataset(root.name, "voc", split, known_classes("voc"), files, size)


def mistakes(dataset: FileDataset) -> list[str]:
    """Common mistakes in copies of VOC; see :func:`segattn_cli.data.formats.recognition.mistakes_of`."""
    if 255 in raw_values(dataset) or dataset.split.endswith("aug"):
        return []
    return [
        "No mask has 255, the border around objects: they are not the original ones, and borders count as a class."
    ]


def _lists(root: Path) -> dict[str, Path]:
    """The lists by the name of their split."""
    return {path.stem: path for path in sorted((root / _LISTS).glob("*.txt")) if not path.name.startswith(".")}


def _listed(root: Path, list_path: Path, mask_folders: tuple[str, ...]) -> Files:
    tree = Tree(root)

    def image_of(written: str) -> Path | None:
        return tree.find(written, (_IMAGES,))

    def find(row: ListRow) -> tuple[Path | None, Path | None]:
        image = image_of(row.image)
        name = "" if image is None else image.stem
        return image, tree.find(row.mask) if row.mask else tree.find(name, mask_folders)

    rows = read_rows(list_path, lambda written: image_of(written) is not None or tree.find(written) is not None)
    if any(row.mask is None for row in rows) and not (root / mask_folders[0]).is_dir():
        raise DataError(
            f"{root / mask_folders[0]} is missing, where the masks of {list_path.stem} should be as PNG: add the "
            "folder."
        )
    return listed_files(list_path, root, rows, find, mask_folders[0])


def _drawn(root: Path, split: str) -> Files:
    """A part of the images, those that CVAT's list names where there is one."""
    whole = _lists(root).get(_WHOLE)
    if whole is not None:
        files = _listed(root, whole, (_MASKS,))
        names = [name_key(pair.image.stem) for pair in files.pairs]
        chosen = set(draw_split(names, split))
        pairs = tuple(pair for pair, name in zip(files.pairs, names, strict=True) if name in chosen)
        return Files(pairs, files.missing, files.left_out, _DRAWN)
    images, masks = list_images(root / _IMAGES), list_images(root / _MASKS)
    files = match_masks(images, masks, root / _MASKS, chosen=draw_split(list(images.images), split))
    return replace(files, origin=_DRAWN)
