"""Inspection of a data set: every image and mask is read, and what they hold is counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from segattn_cli.data.dataset import Dataset, FileDataset
from segattn_cli.data.formats.recognition import mistakes_of
from segattn_cli.data.listing import LeftOut
from segattn_cli.errors import DataError


@dataclass(frozen=True)
class InspectedImage:
    """What one image and its mask hold, or why they cannot be used."""

    name: str
    size: tuple[int, int] | None = None  # (H, W)
    pixels: np.ndarray | None = None  # (K,): the number of pixels of each class
    ignored: int = 0  # pixels of no class
    problem: str | None = None


@dataclass(frozen=True)
class SplitReport:
    """What a split holds.

    Args:
        images: the number of images.
        sizes: (H, W) and the number of images of that size, the most frequent first.
        pixels: the number of pixels of each class in each image that can be read, ``(images, K)``.
        ignored: the number of pixels of no class.
        problems: sentences about files that cannot be used.
        mistakes: sentences about common mistakes in data sets of this layout that this one seems to have.
        left_out: files and folders that do not belong to the data set.
    """

    split: str
    images: int
    sizes: dict[tuple[int, int], int]
    pixels: np.ndarray
    ignored: int
    problems: tuple[str, ...]
    mistakes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def class_pixels(self) -> np.ndarray:
        """The number of pixels of each class, ``(K,)``."""
        return self.pixels.sum(0)

    @property
    def ignored_fraction(self) -> float:
        """The fraction of pixels that belong to no class."""
        return self.ignored / max(1, self.ignored + int(self.pixels.sum()))

    @property
    def unlabelled_images(self) -> int:
        """The number of images without a labelled pixel, from which nothing can be learnt."""
        return int((self.pixels.sum(1) == 0).sum())

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Everything but the single images, for JSON."""
        return {
            "pictures": self.images,
            "readable": len(self.pixels),
            "sizes": [{"height": h, "width": w, "pictures": count} for (h, w), count in self.sizes.items()],
            "class_pixels": dict(zip(classes, self.class_pixels.tolist(), strict=True)),
            "class_pictures": dict(zip(classes, (self.pixels > 0).sum(0).tolist(), strict=True)),
            "void_share": self.ignored_fraction,
            "wholly_void": self.unlabelled_images,
            "problems": list(self.problems),
            "mistakes": list(self.mistakes),
            "left_out": [{"path": str(path), "reason": reason} for path, reason in self.left_out],
        }


def inspect(dataset: Dataset, workers: int | None = None) -> Iterator[InspectedImage]:
    """Load every sample of ``dataset``, several at a time, and count what is in it; bad files do not raise."""
    pool = ThreadPoolExecutor(workers or os.cpu_count(), thread_name_prefix="segattn-inspect")
    try:
        yield from pool.map(lambda index: _inspect(dataset, index), range(len(dataset)))
    finally:
        pool.shutdown(cancel_futures=True)


def _inspect(dataset: Dataset, index: int) -> InspectedImage:
    name = dataset.name_of(index)
    try:
        label = dataset.load(index).label
    except DataError as error:
        return InspectedImage(name, problem=str(error))
    counts = np.bincount(label.ravel(), minlength=dataset.ignore_label + 1)
    return InspectedImage(name, label.shape, counts[: len(dataset.classes)], int(counts[dataset.ignore_label]))


def summarise_split(dataset: Dataset, inspected: Sequence[InspectedImage]) -> SplitReport:
    """The report on ``dataset``, from all that :func:`inspect` yields for it.

    >>> from segattn_cli.data import open_dataset
    >>> dataset = open_dataset("scenes", split="val", size=(24, 32))
    >>> report = summarise_split(dataset, list(inspect(dataset)))
    >>> report.images, report.sizes, report.ignored_fraction, report.problems
    (80, {(24, 32): 80}, 0.0, ())
    """
    pixels = [each.pixels for each in inspected if each.pixels is not None]
    problems = [each.problem for each in inspected if each.problem is not None]
    files = dataset.files if isinstance(dataset, FileDataset) else None
    return SplitReport(
        split=dataset.split,
        images=len(dataset) + (len(files.missing) if files else 0),
        sizes=dict(Counter(each.size for each in inspected if each.size is not None).most_common()),
        pixels=np.array(pixels, np.int64).reshape(len(pixels), len(dataset.classes)),
        ignored=sum(each.ignored for each in inspected),
        problems=(*(files.missing if files else ()), *problems),
        mistakes=tuple(mistakes_of(dataset)),
        left_out=files.left_out if files else (),
    )


def report_unopened(split: str, classes: int, error: DataError) -> SplitReport:
    """The report on a split that cannot be opened: the error, and each further one in its notes."""
    problems = (str(error), *getattr(error, "__notes__", ()))
    return SplitReport(split, 0, {}, np.zeros((0, classes), np.int64), 0, problems)
