"""What every data set looks like from outside, and the one that reads pairs of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from segattn_cli.data.class_files import ClassList
from segattn_cli.data.images import Decoded, Intensity, decode_image, read_header, resize_image, resize_label
from segattn_cli.data.listing import NO_IMAGE, REPEATED, LeftOut, Listing
from segattn_cli.data.lists import ListRow
from segattn_cli.data.masks import IGNORE_LABEL, DecodedMask, decode_mask, read_mask
from segattn_cli.errors import DataError

#: What tools write behind the name of an image for its mask; nothing, first of all.
MASK_ENDINGS = ("", "_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_gt", "_L")


class Sample(NamedTuple):
    """An image and the class of each of its pixels."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    label: np.ndarray  # (H, W) uint8 class indices, 255 = ignored
    name: str


class Dataset(Protocol):
    """One split of a data set. ``load`` may be called from several threads at once."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def palette(self) -> np.ndarray: ...  # (K, 3) uint8
    @property
    def ignore_label(self) -> int: ...
    def __len__(self) -> int: ...
    def name_of(self, index: int) -> str: ...
    def load(self, index: int) -> Sample: ...


class Pair(NamedTuple):
    """The files of an image and of its mask."""

    image: Path
    mask: Path


class Problem(NamedTuple):
    """Why a file cannot be used."""

    path: Path
    sentence: str

    @property
    def kind(self) -> str:
        """The sentence without what belongs to this file alone: names and numbers."""
        sentence = self.sentence
        for name in (str(self.path), self.path.name, self.path.stem):
            sentence = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", sentence)  # not within words: e.png is empty
        return re.sub(r"\S*/\S*|\d+", "…", sentence)


@dataclass(frozen=True)
class Files:
    """What a split consists of on disk, and what of it cannot be taken."""

    pairs: tuple[Pair, ...]
    missing: tuple[Problem, ...] = ()  # images without a mask, and rows that name no file
    left_out: tuple[LeftOut, ...] = ()
    origin: str = ""  # what decided on the split: "split by file name", "train.txt"

    def require_complete(self) -> None:
        """Raise :class:`DataError` for the first thing that is missing; its notes name the others."""
        if not self.missing:
            return
        total = len(self.pairs) + len(self.missing)
        first = self.missing[0].sentence
        several = f" In all, {len(self.missing)} of {total} cannot be used." if len(self.missing) > 1 else ""
        error = DataError(first + several)
        for problem in self.missing[1:]:
            error.add_note(problem.sentence)
        raise error


@dataclass(frozen=True)
class FileDataset:
    """A split that consists of pairs of files; layouts differ in how they find them.

    Args:
        class_list: the classes, and what the values and colours of the masks mean. Any other value is an error.
        size: resize to this (H, W) on loading, images bilinearly and masks by nearest neighbour.
        intensity: how grey of more than 8 bits is read; see :func:`segattn_cli.data.images.decode_image`.
    """

    name: str
    format: str
    split: str
    class_list: ClassList
    files: Files
    size: tuple[int, int] | None = None
    ignore_label: int = IGNORE_LABEL
    intensity: Intensity = "depth"

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return self.files.pairs

    @property
    def classes(self) -> tuple[str, ...]:
        return self.class_list.names

    @property
    def palette(self) -> np.ndarray:
        return self.class_list.palette

    def __len__(self) -> int:
        return len(self.pairs)

    def name_of(self, index: int) -> str:
        """The image's file name without its ending."""
        return self.pairs[index].image.stem

    def load(self, index: int) -> Sample:
        """Read a pair.

        Raises:
            DataError: for unreadable files, a mask of another size than its image, and values that are no class.
        """
        decoded, mask = self.read(index)
        image, label = decoded.image, self.classes_of(mask.values, self.pairs[index].mask)
        if self.size is not None and self.size != label.shape:
            image, label = resize_image(image, self.size), resize_label(label, self.size)
        return Sample(image, label, self.name_of(index))

    def read(self, index: int, *, header_only: bool = False) -> tuple[Decoded, DecodedMask]:
        """The image and its mask as they were decoded.

        With ``header_only``, the pixels of the image are left out: they are empty. Raises as :meth:`load` does,
        but for values that are no class.
        """
        pair = self.pairs[index]
        mask = decode_mask(pair.mask, self.class_list.colours)
        if header_only:
            header = read_header(pair.image)
            size = header.size
            notes = (f"turned by its EXIF orientation ({header.orientation})",) if header.orientation > 1 else ()
            decoded = Decoded(np.zeros((0, 0, 3), np.uint8), header.stored, notes)
        else:
            decoded = decode_image(pair.image, intensity=self.intensity)
            size = decoded.image.shape[:2]
        if size != mask.values.shape:
            raise DataError(_other_size(pair, size, decoded.stored, mask.values.shape))
        return decoded, mask

    def part(self, split: str, names: Collection[str], origin: str) -> FileDataset:
        """The pairs whose images have these names, as another split."""
        pairs = tuple(pair for index, pair in enumerate(self.pairs) if self.name_of(index) in names)
        return replace(self, split=split, files=replace(self.files, pairs=pairs, origin=origin))

    def classes_of(self, mask: np.ndarray, path: Path) -> np.ndarray:
        """The class of each value of ``mask`` (H, W); raises :class:`DataError` for a value that no class has."""
        unknown = -1
        table = np.full(256, unknown, np.int16)
        table[list(self.class_list.values)] = list(self.class_list.values.values())
        label = table[mask]
        if (label == unknown).any():
            raise DataError(self._unknown_values(np.unique(mask[label == unknown]), mask, path))
        return label.astype(np.uint8)

    def _unknown_values(self, wrong: np.ndarray, mask: np.ndarray, path: Path) -> str:
        """The sentence about values that no class has."""
        listed = ", ".join(str(value) for value in wrong[:5]) + (", …" if wrong.size > 5 else "")
        count = len(self.classes)
        allowed = value_ranges(self.class_list.values)
        sentence = f"{path} holds the value {listed} but there are {count} classes ({allowed})"
        if set(wrong.tolist()) == {count} and mask.min() >= 1:
            return (
                f"{sentence}: its labels seem to count from 1. Subtract 1 from every value, or name what 0 stands "
                "for as the first class."
            )
        values = np.setdiff1d(mask, [0, IGNORE_LABEL])
        step = int(np.gcd.reduce(values))
        if len(values) > 1 and step > 1 and values[-1] // step < count:
            return f"{sentence}: its values seem to be multiplied by {step}, to be seen. Divide all of them by it."
        return f"{sentence}: mend the mask, or name the missing classes."


def value_ranges(values: Mapping[int, int]) -> str:
    """The values of classes, for a message.

    >>> value_ranges({0: 0, 1: 1, 2: 2, 255: 255}), value_ranges({0: 0, 5: 1, 11: 255, 255: 255})
    ('0–2, 255 = ignored', '0, 5, 11 and 255 = ignored')
    """
    used = sorted(value for value, index in values.items() if index != IGNORE_LABEL)
    ignored = sorted(value for value, index in values.items() if index == IGNORE_LABEL)
    if len(ignored) > 3:
        ignored = [IGNORE_LABEL]
    spans = f"{used[0]}–{used[-1]}" if used == list(range(used[0], used[-1] + 1)) else ", ".join(map(str, used))
    return f"{spans}, {' and '.join(map(str, ignored))} = ignored"


def _other_size(
    pair: Pair, size: tuple[int, ...], stored: tuple[int, int], mask_size: tuple[int, ...]
) -> str:
    """The sentence about a mask of another size (H, W) than its image."""
    (h, w), (mask_h, mask_w) = size, mask_size
    sizes = f"{pair.mask} is {mask_w}×{mask_h} but its image {pair.image} is {w}×{h} (width×height)"
    if stored == mask_size:
        return (
            f"{sizes} once its EXIF orientation has turned it: the mask was drawn on the image as it is stored. "
            "Turn the mask as well, or remove the orientation from the image."
        )
    return f"{sizes}: a mask must have the size of its image."


def raw_values(dataset: FileDataset, most: int = 200) -> set[int]:
    """The values in the masks of ``dataset`` as they are on disk, in up to ``most`` of them, evenly spaced.

    Masks that cannot be read are left out: loading them says why.
    """
    values: set[int] = set()
    for pair in dataset.pairs[:: max(1, -(-len(dataset) // most))]:
        with suppress(DataError):
            values.update(np.unique(read_mask(pair.mask)).tolist())
    return values


def match_masks(
    images: Listing, masks: Listing, mask_folder: Path, *, endings: Sequence[str] = MASK_ENDINGS,
    chosen: Collection[str] | None = None,
) -> Files:
    """Pair images and masks by their names without ending; see :func:`mask_of`.

    Args:
        endings: what may stand behind the image's name in that of its mask.
        chosen: the names of images that are wanted, in this order; all of them by default.
    """
    matched = {name: mask_of(name, path, masks.images, endings) for name, path in images.images.items()}
    wanted = list(matched) if chosen is None else list(chosen)
    pairs = [Pair(images.images[name], mask) for name in wanted if (mask := matched[name]) is not None]
    missing = [
        Problem(
            image,
            f"{image} has no mask {mask_folder / name}{endings[0]}.png: add it or take the image away.",
        )
        for name in wanted if matched[name] is None and (image := images.images[name])
    ]  # fmt: skip
    used = set(matched.values())
    spare = [LeftOut(path, NO_IMAGE) for path in masks.images.values() if path not in used]
    return Files(tuple(pairs), tuple(missing), (*images.left_out, *masks.left_out, *spare))


def mask_of(
    name: str, image: Path, masks: Mapping[str, Path], endings: Sequence[str] = MASK_ENDINGS
) -> Path | None:
    """The mask of the image ``name``: the same name, or with the image's ending, and one of ``endings``."""
    names = (name, name + image.suffix)
    return next((masks[each + ending] for ending in endings for each in names if each + ending in masks), None)


def listed_files(
    list_path: Path, root: Path, rows: Sequence[ListRow],
    find: Callable[[ListRow], tuple[Path | None, Path | None]], mask_folder: str = "",
) -> Files:
    """The pairs that the ``rows`` of a list name, in their order.

    Args:
        find: the image and the mask of a row, each ``None`` where it is nowhere.
        mask_folder: where masks are looked for that the list does not name.
    """
    pairs, missing = [], []
    for row in rows:
        image, mask = find(row)
        if image is not None and mask is not None:
            pairs.append(Pair(image, mask))
            continue
        if image is not None and row.mask is None:
            what = f"names {row.image}, but there is no mask {mask_folder}/{image.stem}.png: add it."
        else:
            nowhere = row.image if image is None else row.mask
            what = f"names {nowhere}, which is nowhere below {root}: mend the list or add the file."
        missing.append(Problem(Path(row.image), f"{list_path} {what}"))
    repeated = [LeftOut(pair.image, REPEATED) for pair, count in Counter(pairs).items() if count > 1]
    return Files(tuple(pairs), tuple(missing), tuple(repeated), list_path.name)
