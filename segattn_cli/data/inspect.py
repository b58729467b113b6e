"""Reading the images and masks of a data set before a training does, and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backends.cores import usable_cores
from segattn_cli.data.dataset import Dataset, FileDataset, Problem
from segattn_cli.data.formats.recognition import is_own, mistakes_of
from segattn_cli.data.listing import LeftOut, first_names
from segattn_cli.errors import DataError


@dataclass(frozen=True)
class InspectedImage:
    """What one image and its mask hold, or why they cannot be used."""

    name: str
    size: tuple[int, int] | None = None  # (H, W)
    pixels: np.ndarray | None = None  # (K,): number of pixels of each class
    ignored: int = 0  # number of pixels of no class
    problem: Problem | None = None
    values: frozenset[int] = frozenset()  # in the mask, as they stand in the file
    unknown: frozenset[int] = frozenset()  # those of them that no class has
    notes: tuple[str, ...] = ()  # how the image and its mask were read: see `Decoded` and `DecodedMask`
    palette: bytes | None = None  # of the mask, if it has one
    turned_alone: bool = False  # whether an EXIF orientation turns the image, and the mask has none


@dataclass(frozen=True)
class SplitReport:
    """What a split holds, or the images of it that were read."""

    split: str
    images: int
    sizes: dict[tuple[int, int], int]  # (H, W) to the number of images, the most frequent first
    pixels: np.ndarray  # (readable images, K)
    ignored: int
    problems: tuple[Problem, ...]
    mistakes: tuple[str, ...] = ()  # what is often wrong with such data sets, and seems to be with this one
    left_out: tuple[LeftOut, ...] = ()  # files and folders that are not taken
    values: frozenset[int] = frozenset()  # in the masks, as they stand in the files
    notes: dict[str, tuple[str, ...]] | None = None  # how files were read, and the names of the images
    turned_alone: tuple[str, ...] = ()  # images that are turned and whose masks carry no tag
    files: frozenset[Path] = frozenset()

    @property
    def class_pixels(self) -> np.ndarray:
        """Number of pixels of each class, ``(K,)``."""
        return self.pixels.sum(0)

    @property
    def ignored_fraction(self) -> float:
        """Fraction of the pixels that belong to no class."""
        return self.ignored / max(1, self.ignored + int(self.pixels.sum()))

    @property
    def unlabelled_images(self) -> int:
        """Number of images without a labelled pixel: nothing can be learnt from them."""
        return int((self.pixels.sum(1) == 0).sum())

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Everything but the images one by one, for JSON."""
        return {
            "pictures": self.images,
            "readable": len(self.pixels),
            "sizes": [{"height": h, "width": w, "pictures": count} for (h, w), count in self.sizes.items()],
            "class_pixels": dict(zip(classes, self.class_pixels.tolist(), strict=True)),
            "class_pictures": dict(zip(classes, (self.pixels > 0).sum(0).tolist(), strict=True)),
            "void_share": self.ignored_fraction,
            "wholly_void": self.unlabelled_images,
            "problems": [problem.sentence for problem in self.problems],
            "mistakes": list(self.mistakes),
            "values": sorted(self.values),
            "notes": {note: list(names) for note, names in (self.notes or {}).items()},
            "left_out": [{"path": str(path), "reason": reason} for path, reason in self.left_out],
        }


def inspect(
    dataset: Dataset, workers: int | None = None, *, indices: Sequence[int] | None = None, masks_only: bool = False
) -> Iterator[InspectedImage]:
    """Load samples of ``dataset``, several at a time, and say what is in them; bad files do not raise.

    Args:
        indices: which samples; all of them by default.
        masks_only: whether of images the header alone is read.
    """
    pool = ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="segattn-inspect")
    try:
        chosen = range(len(dataset)) if indices is None else indices
        yield from pool.map(lambda index: _inspected(dataset, index, masks_only), chosen)
    finally:
        pool.shutdown(cancel_futures=True)


def _inspected(dataset: Dataset, index: int, masks_only: bool) -> InspectedImage:
    name = dataset.name_of(index)
    if not isinstance(dataset, FileDataset):
        try:
            label = dataset.load(index).label
        except DataError as error:
            return InspectedImage(name, problem=Problem(Path(name), str(error)))
        return InspectedImage(name, label.shape, *_counts(dataset, label))
    pair = dataset.pairs[index]
    try:
        decoded, mask = dataset.read(index, header_only=masks_only)
    except DataError as error:
        path = pair.mask if str(pair.mask) in str(error) else pair.image
        return InspectedImage(name, problem=Problem(path, str(error)))
    values = frozenset(np.flatnonzero(np.bincount(mask.values.ravel(), minlength=256)).tolist())
    unknown = values - set(dataset.class_list.values)
    turned_alone = any("EXIF" in note for note in decoded.notes) and mask.orientation == 1
    notes = (*decoded.notes, *mask.notes)
    try:
        pixels, ignored = _counts(dataset, dataset.classes_of(mask.values, pair.mask))
    except DataError as error:
        return InspectedImage(name, problem=Problem(pair.mask, str(error)), values=values, unknown=unknown)
    return InspectedImage(
        name, mask.values.shape, pixels, ignored, None, values, unknown, notes, mask.palette, turned_alone
    )


def _counts(dataset: Dataset, label: np.ndarray) -> tuple[np.ndarray, int]:
    counts = np.bincount(label.ravel(), minlength=dataset.ignore_label + 1)
    return counts[: len(dataset.classes)], int(counts[dataset.ignore_label])


def summarise_split(dataset: Dataset, inspected: Sequence[InspectedImage]) -> SplitReport:
    """All that :func:`inspect` read of ``dataset``, in one report.

    >>> from segattn_cli.data import open_dataset
    >>> dataset = open_dataset("scenes", split="val", size=(24, 32))
    >>> report = summarise_split(dataset, list(inspect(dataset)))
    >>> report.images, report.sizes, report.ignored_fraction, report.problems
    (80, {(24, 32): 80}, 0.0, ())
    """
    pixels = [each.pixels for each in inspected if each.pixels is not None]
    notes: dict[str, tuple[str, ...]] = {}
    for each in inspected:
        for note in each.notes:
            notes[note] = (*notes.get(note, ()), each.name)
    files = dataset.files if isinstance(dataset, FileDataset) else None
    return SplitReport(
        split=dataset.split,
        images=len(dataset) + (len(files.missing) if files else 0),
        sizes=dict(Counter(each.size for each in inspected if each.size is not None).most_common()),
        pixels=np.array(pixels, np.int64).reshape(len(pixels), len(dataset.classes)),
        ignored=sum(each.ignored for each in inspected),
        problems=(*(files.missing if files else ()), *_problems(dataset, inspected)),
        mistakes=(*mistakes_of(dataset), *_other_colours(dataset, inspected), *_reordered_palettes(inspected)),
        left_out=files.left_out if files else (),
        values=frozenset().union(*(each.values for each in inspected)),
        notes=notes,
        turned_alone=tuple(each.name for each in inspected if each.turned_alone),
        files=frozenset(pair.image for pair in files.pairs) if files else frozenset(),
    )


def _problems(dataset: Dataset, inspected: Sequence[InspectedImage]) -> list[Problem]:
    """What is wrong with files; masks that count from 1 are one problem, and the commonest of all."""
    problems = [each.problem for each in inspected if each.problem is not None]
    count = len(dataset.classes)
    values = frozenset[int]().union(*(each.values for each in inspected))
    unknown = frozenset[int]().union(*(each.unknown for each in inspected))
    counts_from_0 = isinstance(dataset, FileDataset) and dataset.class_list.counts_from_0
    if not counts_from_0 or unknown != {count} or 0 in values:
        return problems
    affected = [each.problem for each in inspected if each.unknown and each.problem is not None]
    sentence = (
        f"The masks hold 1 to {count} and never 0, though {count} classes have the values 0 to {count - 1}: the "
        f"labels seem to count from 1. Subtract 1 from every value, or name what 0 stands for as the first class."
    )
    return [Problem(affected[0].path, sentence), *(each for each in problems if each not in affected)]


def _reordered_palettes(inspected: Sequence[InspectedImage]) -> list[str]:
    """A sentence where one colour stands for different values in masks of different palettes.

    Editors that save as palette order the colours anew in each file: the values then mean nothing.
    """
    first: dict[bytes, tuple[int, InspectedImage]] = {}  # the value of each colour, and where it has it
    for each in inspected:
        palette = each.palette or b""
        for value in sorted(each.values - {255}):
            colour = _colour_at(palette, value)
            if len(colour) < 3:
                continue
            known, other = first.setdefault(colour, (value, each))
            elsewhere = _colour_at(other.palette or b"", value)
            if known != value and colour not in (_colour_at(palette, known), elsewhere):
                return [
                    f"The colour {', '.join(map(str, colour))} is the value {known} in the palette of the mask of "
                    f"{other.name} and {value} in that of {each.name}: the values are read, and not the colours. "
                    "Save all masks with one palette, or as RGB with a list of the colours."
                ]
    return []


def _other_colours(dataset: Dataset, inspected: Sequence[InspectedImage]) -> list[str]:
    """A sentence where palettes give the colour of one class, by the folder's own list, to the value of another."""
    if not isinstance(dataset, FileDataset) or not is_own(dataset):
        return []
    values = {bytes(colour): value for colour, value in dataset.class_list.colours.items()}
    names = {value: dataset.classes[index] for value, index in dataset.class_list.values.items() if index != 255}
    for each in inspected:
        palette = each.palette or b""
        for value in sorted(each.values & names.keys()):
            colour = _colour_at(palette, value)
            meant = values.get(colour, value)
            if meant != value and meant in names and _colour_at(palette, meant) != colour:
                return [
                    f"In the palette of the mask of {each.name}, the value {value} ({names[value]}) has the colour "
                    f"of {names[meant]}, {', '.join(map(str, colour))}: the values are read, and not the colours. "
                    "If the colours are right, save the masks as RGB."
                ]
    return []


def _colour_at(palette: bytes, value: int) -> bytes:
    return palette[3 * value : 3 * value + 3]


def report_unopened(split: str, classes: int, error: DataError) -> SplitReport:
    """The report on a split that cannot even be opened: why, and each further reason that the error notes."""
    problems = tuple(Problem(Path(split), text) for text in (str(error), *getattr(error, "__notes__", ())))
    return SplitReport(split, 0, {}, np.zeros((0, classes), np.int64), 0, problems)


def summarise_problems(problems: Iterable[Problem]) -> list[str]:
    """A sentence for each kind of problem: the first of the kind, how many more there are, and their first names.

    >>> problems = [Problem(Path(f"masks/{name}.png"), f"masks/{name}.png is empty (0 bytes).") for name in "abcde"]
    >>> summarise_problems(problems)
    ['masks/a.png is empty (0 bytes). The same holds for 4 more: b.png, c.png, d.png, ….']
    """
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    return [
        f"{first.sentence} The same holds for {len(rest)} more: {first_names(each.path.name for each in rest)}."
        if rest
        else first.sentence
        for first, *rest in kinds.values()
    ]
