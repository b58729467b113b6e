"""Looking at every picture and mask of a data set, before a training would."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from segattn_cli.data.dataset import Dataset, FileDataset
from segattn_cli.data.formats.registry import mistakes_of
from segattn_cli.data.listing import LeftOut
from segattn_cli.errors import DataError


@dataclass(frozen=True)
class Inspected:
    """What one picture and its mask hold, or why they cannot be used."""

    name: str
    size: tuple[int, int] | None = None  # (H, W)
    pixels: np.ndarray | None = None  # (K,): how many pixels each class has
    void: int = 0  # pixels of no class
    problem: str | None = None


@dataclass(frozen=True)
class SplitReport:
    """What a split holds."""

    split: str
    pictures: int
    sizes: dict[tuple[int, int], int]  # (H, W) to how many pictures, the most frequent first
    pixels: np.ndarray  # (readable pictures, K)
    void: int
    problems: tuple[str, ...]
    mistakes: tuple[str, ...] = ()  # what is often wrong with such data sets, and seems to be with this one
    left_out: tuple[LeftOut, ...] = ()  # files and folders that are not taken

    @property
    def class_pixels(self) -> np.ndarray:
        """How many pixels each class has, ``(K,)``."""
        return self.pixels.sum(0)

    @property
    def void_share(self) -> float:
        """The share of pixels that belong to no class."""
        return self.void / max(1, self.void + int(self.pixels.sum()))

    @property
    def wholly_void(self) -> int:
        """How many pictures have no labelled pixel: nothing can be learnt from them."""
        return int((self.pixels.sum(1) == 0).sum())

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Everything but the pictures one by one, for JSON."""
        return {
            "pictures": self.pictures,
            "readable": len(self.pixels),
            "sizes": [{"height": h, "width": w, "pictures": count} for (h, w), count in self.sizes.items()],
            "class_pixels": dict(zip(classes, self.class_pixels.tolist(), strict=True)),
            "class_pictures": dict(zip(classes, (self.pixels > 0).sum(0).tolist(), strict=True)),
            "void_share": self.void_share,
            "wholly_void": self.wholly_void,
            "problems": list(self.problems),
            "mistakes": list(self.mistakes),
            "left_out": [{"path": str(path), "reason": reason} for path, reason in self.left_out],
        }


def inspect(dataset: Dataset, workers: int | None = None) -> Iterator[Inspected]:
    """Load every sample of ``dataset``, several at a time, and say what is in it; bad files do not raise."""
    pool = ThreadPoolExecutor(workers or os.cpu_count(), thread_name_prefix="segattn-inspect")
    try:
        yield from pool.map(lambda index: _inspected(dataset, index), range(len(dataset)))
    finally:
        pool.shutdown(cancel_futures=True)


def _inspected(dataset: Dataset, index: int) -> Inspected:
    name = dataset.name_of(index)
    try:
        label = dataset.load(index).label
    except DataError as error:
        return Inspected(name, problem=str(error))
    counts = np.bincount(label.ravel(), minlength=dataset.ignore_label + 1)
    return Inspected(name, label.shape, counts[: len(dataset.classes)], int(counts[dataset.ignore_label]))


def summarise(dataset: Dataset, found: Sequence[Inspected]) -> SplitReport:
    """All that :func:`inspect` found in ``dataset``, in one report.

    >>> from segattn_cli.data import open_dataset
    >>> dataset = open_dataset("scenes", split="val", size=(24, 32))
    >>> report = summarise(dataset, list(inspect(dataset)))
    >>> report.pictures, report.sizes, report.void_share, report.problems
    (80, {(24, 32): 80}, 0.0, ())
    """
    pixels = [each.pixels for each in found if each.pixels is not None]
    files = dataset.files if isinstance(dataset, FileDataset) else None
    return SplitReport(
        split=dataset.split,
        pictures=len(dataset) + (len(files.missing) if files else 0),
        sizes=dict(Counter(each.size for each in found if each.size is not None).most_common()),
        pixels=np.array(pixels, np.int64).reshape(len(pixels), len(dataset.classes)),
        void=sum(each.void for each in found),
        problems=(*(files.missing if files else ()), *(each.problem for each in found if each.problem is not None)),
        mistakes=tuple(mistakes_of(dataset)),
        left_out=files.left_out if files else (),
    )


def unopened(split: str, classes: int, error: DataError) -> SplitReport:
    """The report on a split that cannot even be opened: why, and each further reason that the error notes."""
    problems = (str(error), *getattr(error, "__notes__", ()))
    return SplitReport(split, 0, {}, np.zeros((0, classes), np.int64), 0, problems)
