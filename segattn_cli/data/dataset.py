"""What every data set looks like from outside, and the one that reads pairs of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np

from segattn_cli.data.class_files import ClassList
from segattn_cli.data.images import SUFFIXES, Decoded, decode_image, resize_image, resize_label
from segattn_cli.data.masks import IGNORE_LABEL, read_mask
from segattn_cli.errors import DataError


class Sample(NamedTuple):
    """A picture and what is in it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    label: np.ndarray  # (H, W) uint8 class indices, 255 = void
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
    """A picture and its mask, on disk."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class FileDataset:
    """A split that consists of pairs of files; layouts differ in how they find them.

    Args:
        class_list: the classes, and what the values and colours of the masks mean. Any other value is an error.
        size: resize to this (H, W) on loading, pictures bilinearly and masks by nearest neighbour.
    """

    name: str
    format: str
    split: str
    class_list: ClassList
    pairs: tuple[Pair, ...]
    size: tuple[int, int] | None = None
    ignore_label: int = IGNORE_LABEL

    @property
    def classes(self) -> tuple[str, ...]:
        return self.class_list.names

    @property
    def palette(self) -> np.ndarray:
        return self.class_list.palette

    def __len__(self) -> int:
        return len(self.pairs)

    def name_of(self, index: int) -> str:
        """The picture's file name without its ending."""
        return self.pairs[index].image.stem

    def load(self, index: int) -> Sample:
        """Read a pair.

        Raises:
            DataError: for unreadable files, a mask of another size than its picture, and values that are no class.
        """
        pair = self.pairs[index]
        decoded, label = decode_image(pair.image), read_mask(pair.mask, self.class_list.colours)
        image = decoded.image
        if image.shape[:2] != label.shape:
            raise DataError(_other_size(pair, decoded, label))
        label = self._classes_of(label, pair.mask)
        if self.size is not None and self.size != label.shape:
            image, label = resize_image(image, self.size), resize_label(label, self.size)
        return Sample(image, label, self.name_of(index))

    def _classes_of(self, mask: np.ndarray, path: Path) -> np.ndarray:
        """The class of each value of ``mask`` (H, W)."""
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
        allowed = _ranges(self.class_list.values)
        sentence = f"{path} holds the value {listed} but there are {count} classes ({allowed})"
        if set(wrong.tolist()) == {count} and mask.min() >= 1:
            return (
                f"{sentence}: its labels seem to count from 1. Subtract 1 from every value, or name what 0 stands "
                "for as the first class."
            )
        return f"{sentence}: mend the mask, or name the missing classes."


def _ranges(values: Mapping[int, int]) -> str:
    """The values of classes, for a message.

    >>> _ranges({0: 0, 1: 1, 2: 2, 255: 255}), _ranges({0: 0, 5: 1, 11: 255, 255: 255})
    ('0–2, 255 = ignored', '0, 5, 11 and 255 = ignored')
    """
    used = sorted(value for value, index in values.items() if index != IGNORE_LABEL)
    ignored = sorted(value for value, index in values.items() if index == IGNORE_LABEL)
    if len(ignored) > 3:
        ignored = [IGNORE_LABEL]
    spans = f"{used[0]}–{used[-1]}" if used == list(range(used[0], used[-1] + 1)) else ", ".join(map(str, used))
    return f"{spans}, {' and '.join(map(str, ignored))} = ignored"


def _other_size(pair: Pair, decoded: Decoded, label: np.ndarray) -> str:
    """The sentence about a mask of another size than its image."""
    (h, w), (mask_h, mask_w) = decoded.image.shape[:2], label.shape
    sizes = f"{pair.mask} is {mask_w}×{mask_h} but its image {pair.image} is {w}×{h} (width×height)"
    if decoded.stored == label.shape:
        return (
            f"{sizes} once its EXIF orientation has turned it: the mask was drawn on the image as it is stored. "
            "Turn the mask as well, or remove the orientation from the image."
        )
    return f"{sizes}: a mask must have the size of its image."


def raw_values(dataset: FileDataset, most: int = 200) -> set[int]:
    """The values in the masks of ``dataset`` as they are on disk, in up to ``most`` of them, evenly spaced.

    Masks that cannot be read are left out: loading them says why.
    """
    found: set[int] = set()
    for pair in dataset.pairs[:: -(-len(dataset) // most)]:
        with suppress(DataError):
            found.update(np.unique(read_mask(pair.mask)).tolist())
    return found


def find_images(folder: Path) -> dict[str, Path]:
    """The pictures in ``folder`` by name without ending, in the order of their names."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(f"{path} and {found[path.stem].name} have the same name: keep one of them.")
        found[path.stem] = path
    return found


def match_masks(
    images: Mapping[str, Path], masks: Mapping[str, Path], mask_folder: Path, ending: str = ".png"
) -> tuple[Pair, ...]:
    """Pair pictures and masks of the same name; a mask's file is that name and ``ending``, in ``mask_folder``.

    Raises:
        DataError: on the first picture that has no mask; its notes name the others.
    """
    missing = [name for name in images if name not in masks]
    if missing:
        error = DataError(
            f"{images[missing[0]]} has no mask {mask_folder / missing[0]}{ending} "
            f"({len(missing)} of {len(images)} pictures have none): add the masks or take the pictures away."
        )
        for name in missing[1:]:
            error.add_note(f"{images[name]} has no mask {mask_folder / name}{ending}.")
        raise error
    return tuple(Pair(image, masks[name]) for name, image in images.items())


def read_list(path: Path) -> list[list[str]]:
    """The lines of a split list, each as its columns."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of pictures ({error}).") from error
    return [columns for columns in lines if columns]


def listed_pairs(root: Path, rows: Iterable[Sequence[str]], list_path: Path) -> tuple[Pair, ...]:
    """The pairs that the rows (picture, mask) of a list name.

    Raises:
        DataError: on the first that is nowhere; its notes name the others.
    """
    pairs, errors = [], []
    for image, mask in rows:
        try:
            pairs.append(Pair(rebase(root, image, list_path), rebase(root, mask, list_path)))
        except DataError as error:
            errors.append(error)
    for other in errors[1:]:
        errors[0].add_note(str(other))
    if errors:
        raise errors[0]
    return tuple(pairs)


def rebase(root: Path, written: str, list_path: Path) -> Path:
    """Find a file that a list names by a path from elsewhere: the longest tail of it that exists below ``root``.

    A picture may also have another ending than the list says (``.jpg`` for ``.png``).

    Raises:
        DataError: where no tail exists.
    """
    parts = [part for part in PurePosixPath(written.replace("\\", "/")).parts if part not in ("/", "..")]
    tails = [root.joinpath(*parts[start:]) for start in range(len(parts))]
    for candidate in [*tails, *(tail.with_suffix(suffix) for tail in tails for suffix in SUFFIXES)]:
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{list_path} names {written}, which is nowhere below {root}: mend the list or add the file."
    )


def require_split(split: str, known: Sequence[str], root: Path) -> None:
    """Raise a :class:`DataError` where ``root`` has no such split."""
    if split not in known:
        raise DataError(f"{root} has no split {split!r}: it has {', '.join(known) or 'none'}.")
