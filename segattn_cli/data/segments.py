"""How the classes lie in the masks of a data set: how large their areas are, and whether up differs from down."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segattn_cli.data.dataset import IGNORE_LABEL, Dataset

#: Number of masks that stand for all.
SAMPLE = 50
#: Number of bands of rows in which pixels of a class are counted.
BANDS = 8


class Segments(NamedTuple):
    """What :func:`measure_segments` measures."""

    width: float  # mean length of a run of pixels of one class along a row or a column
    uprightness: float  # 0: each class lies above as it lies below; 1: each is only above or only below the middle


def measure_segments(dataset: Dataset, most: int = SAMPLE) -> Segments:
    """The segments in up to ``most`` masks of ``dataset``, evenly spaced.

    ``uprightness`` is the mean over the labelled pixels of Σ |p(b) − p(B+1−b)| / 2 of their class, where p(b) is
    the fraction of the class in band b of B bands of rows. Raises :class:`DataError` for files that cannot be read.

    >>> from segattn_cli.data import open_dataset
    >>> width, uprightness = measure_segments(open_dataset("scenes"), most=10)
    >>> 10 < width < 30, uprightness > 0.7
    (True, True)
    """
    pixels = runs = 0
    upright, upside_down = np.zeros((2, len(dataset.classes), BANDS))
    for index in range(0, len(dataset), max(1, -(-len(dataset) // most))):
        label = dataset.load(index).label
        for lines in (label, label.T):
            pixels += lines.size
            runs += len(lines) + int((lines[:, 1:] != lines[:, :-1]).sum())
        for bands, rows in ((upright, label), (upside_down, label[::-1])):
            for band, part in enumerate(np.array_split(rows, BANDS)):
                counts = np.bincount(part.ravel(), minlength=IGNORE_LABEL + 1)
                bands[:, band] += counts[: len(dataset.classes)]
    differences = np.abs(upright - upside_down).sum() / 2
    return Segments(pixels / runs, float(differences / max(1.0, upright.sum())))
