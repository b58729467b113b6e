"""Masks in which each class has a colour, and a list of the colours: CVAT's "Segmentation mask 1.1", CamVid's.

The list is ``labelmap.txt``, ``class_dict.csv`` or another file that :mod:`~segattn_cli.data.class_files` knows.
Masks lie in a folder called ``SegmentationClass``, ``masks``, ``labels`` or the like, or in ``Xannot``,
``X_labels`` or ``X_masks`` beside the folder ``X`` of their images. A mask has the name of its image, or this and
``_mask``, ``_L`` or the like. CVAT's lists in ``ImageSets/Segmentation`` name the splits.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-smask/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from segattn_cli.data.annotations.class_table import read_class_colours
from segattn_cli.data.annotations.image_facts import image_facts
from segattn_cli.data.annotations.model import AnnotatedImage, Annotations, Notes, Painted, Rules
from segattn_cli.data.annotations.source import Source, folded, split_called
from segattn_cli.data.class_files import CLASS_FILES, read_text
from segattn_cli.data.images import opened
from segattn_cli.data.masks import IGNORE_LABEL, Colour
from segattn_cli.errors import DataError

#: What messages call the format.
NAME = "coloured masks"
_OF_IMAGES = {"jpegimages", "images", "image", "imgs", "img"}
_OF_MASKS = {"segmentationclass", "masks", "mask", "annotations", "annotation", "annot", "labels", "label", "gt"}
_OF_INSTANCES = "segmentationobject"
_FOLDER_ENDING = re.compile(r"(annot|[_-]labels|[_-]masks|[_-]gt)$")
_NAME_ENDING = re.compile(r"[_-](mask|masks|label|labels|l|seg|gt)$")


def recognise(source: Source) -> bool:
    """Whether ``source`` has a list of colours, and masks."""
    if source.document is not None:
        return False
    return any(map(_has_colours, _lists(source))) and bool(_pairs(source)[0])


def read(source: Source, notes: Notes) -> Annotations:
    """The masks of all images in ``source``; see :class:`Annotations`."""
    lists = [source.classes] if source.classes else _lists(source)
    lists = sorted(lists, key=lambda path: not _has_colours(path))
    if not lists:
        raise DataError(f"{source.root} has no labelmap.txt: give a list 'name: r, g, b' as --classes FILE.")
    colours = read_class_colours(lists[0])
    missing = [name for name, colour in colours.items() if colour is None]
    if missing:
        raise DataError(f"{lists[0]} has no colour for {missing[0]!r}: write 'name: r, g, b'.")
    pairs, alone, unpaired = _pairs(source)
    if not pairs:
        raise DataError(
            f"{source.root} has no masks with the names of its images: they belong in images/ and masks/, or in "
            "JPEGImages/ and SegmentationClass/."
        )
    for path in unpaired:
        notes.leave_out("masks without an image", str(path))
    splits = _listed_splits(source)
    table = {colour: name for name, colour in colours.items() if colour}
    if len(table) < len(colours):
        raise DataError(f"{lists[0]} gives one colour to several classes.")
    images = [AnnotatedImage(path, path, None, None, splits.get(folded(path.stem))) for path in alone]
    for path, mask in pairs.items():
        try:
            size, annotation = _mask(mask, table)
            images.append(AnnotatedImage(path, mask, size, annotation, splits.get(folded(path.stem))))
        except DataError as error:
            notes.refuse(str(error))
    return Annotations(images, colours, complete=True)


@dataclass(frozen=True)
class ColouredMask:
    """A mask, and the class that each colour stands for."""

    path: Path
    names: Mapping[Colour, str]

    @property
    def labels(self) -> Counter[str]:
        """None: its colours are looked up as it is painted."""
        return Counter()

    def paint(self, size: tuple[int, int], rules: Rules) -> Painted:
        """The classes of its colours; see :class:`Annotation`."""
        with opened(self.path) as mask:
            if mask.mode == "RGBA" and mask.getchannel("A").getextrema() != (255, 255):
                raise DataError(f"{self.path} has transparent pixels: save it without an alpha channel.")
            pixels = np.asarray(mask.convert("RGB"))  # the colours of a palette, not its indices
        if pixels.shape[:2] != size:
            raise DataError(f"{self.path} does not have the size of its image.")
        codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
        found, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
        values = np.full(len(found), IGNORE_LABEL, np.uint8)
        unknown = {}
        for index, code in enumerate(found.tolist()):
            colour = (code >> 16, code >> 8 & 255, code & 255)
            if colour in self.names:
                values[index] = rules.values.get(self.names[colour], IGNORE_LABEL)
            else:
                unknown[colour] = int(counts[index])
        return Painted(values[inverse].reshape(size), unknown=unknown)


def _mask(path: Path, names: Mapping[Colour, str]) -> tuple[tuple[int, int], ColouredMask]:
    """The (H, W) of a mask as it is stored, and the mask."""
    facts = image_facts(path)
    if facts.format in ("JPEG", "MPO"):
        raise DataError(f"{path} is a JPEG, which blurs colours: save masks as PNG.")
    if facts.mode not in ("RGB", "P", "L", "1", "RGBA"):
        raise DataError(f"{path} has pixels of another kind than 8-bit colours (mode {facts.mode}).")
    if facts.orientation != 1:
        raise DataError(f"{path} is a mask that its EXIF tag turns: save it without the tag, as it is to be read.")
    return facts.size, ColouredMask(path, names)


def _lists(source: Source) -> list[Path]:
    """Lists that may have colours, those that are called so first."""
    lists = [path for path in source.files if path.name.lower() in CLASS_FILES]
    return sorted(lists, key=lambda path: CLASS_FILES.index(path.name.lower()))


def _has_colours(path: Path) -> bool:
    try:
        return any(read_class_colours(path).values())
    except DataError:
        return False


def _pairs(source: Source) -> tuple[dict[Path, Path], list[Path], list[Path]]:
    """The masks by their images; then the images that have none, and the masks that have none."""
    images: dict[tuple[str, ...], Path] = {}
    masks: dict[tuple[str, ...], Path] = {}
    for path in source.images:
        *folders, _ = map(folded, path.relative_to(source.images_root).parts)
        if _OF_INSTANCES in folders:
            continue
        is_mask = any(part in _OF_MASKS or _FOLDER_ENDING.search(part) for part in folders)
        key = tuple(_FOLDER_ENDING.sub("", part) for part in folders if part not in _OF_MASKS | _OF_IMAGES)
        (masks if is_mask else images)[(*key, folded(path.stem))] = path
    for key in list(images):  # masks beside their images
        base = (*key[:-1], _NAME_ENDING.sub("", key[-1]))
        if base != key and base in images:
            masks[key] = images.pop(key)
    pairs = {}
    for key, mask in masks.items():
        for name in (key, (*key[:-1], _NAME_ENDING.sub("", key[-1]))):
            if name in images:
                pairs[images.pop(name)] = mask
                break
    unpaired = [mask for mask in masks.values() if mask not in set(pairs.values())]
    return pairs, list(images.values()), unpaired


def _listed_splits(source: Source) -> dict[str, str]:
    """The split of each name in CVAT's lists."""
    splits: dict[str, str] = {}
    for path in source.documents(".txt"):
        split = split_called(path.stem)
        if split and path.parent.name == "Segmentation" and path.parent.parent.name == "ImageSets":
            for line in read_text(path).splitlines():
                splits.setdefault(folded(PurePosixPath(line.strip()).name), split)
    return splits
