"""The confusion matrix of each image, and how much a mean over these images is worth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from segattn_cli.data import stream

#: How often the images are drawn anew for an interval.
RESAMPLES = 2000
#: The probability with which an interval is to hold the value, and the percentiles at its ends.
CONFIDENCE = 0.95
ENDS = (2.5, 97.5)
#: Numbers of images that are drawn together, which bounds the memory.
DRAWN_TOGETHER = 4_000_000


class Cells(NamedTuple):
    """The cells of a confusion matrix that are not 0, and the pixels in each: both (M,)."""

    cell: np.ndarray  # truth · K + prediction, int32
    pixels: np.ndarray  # int64


def nonzero_cells(matrix: np.ndarray) -> Cells:
    """Of a confusion matrix (K, K): rows are the truth, columns the prediction."""
    cell = np.flatnonzero(matrix)
    return Cells(cell.astype(np.int32), matrix.ravel()[cell].astype(np.int64))


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high


class ImageMatrices:
    """The confusion matrix of each image of a data set, in sparse form: most pairs of classes never meet.

    Args:
        classes: the number of classes K.
        names: of the N images.
        image: for each cell that is not 0, the index of its image: (M,) int32.
        cell: truth · K + prediction of that cell: (M,) int32.
        pixels: the number of pixels in it: (M,) int64.

    >>> cells = [nonzero_cells(np.array(each)) for each in ([[3, 1], [0, 0]], [[0, 0], [0, 2]])]
    >>> matrices = ImageMatrices.of(2, ["a", "b"], cells)
    >>> matrices.right.tolist(), matrices.union.tolist()
    ([[3, 0], [0, 2]], [[4, 1], [0, 2]])
    >>> matrices.mious.tolist()  # of each image by itself
    [0.375, 1.0]
    >>> matrices.miou
    0.7083333333333333
    """

    def __init__(
        self, classes: int, names: Sequence[str], image: np.ndarray, cell: np.ndarray, pixels: np.ndarray
    ) -> None:
        self.classes = classes
        self.names = tuple(names)
        self.image = image
        self.cell = cell
        self.pixels = pixels

    @classmethod
    def of(cls, classes: int, names: Sequence[str], images: Sequence[Cells]) -> ImageMatrices:
        """From the cells of each image."""
        lengths = np.array([len(each.cell) for each in images], np.intp)
        image = np.repeat(np.arange(len(images), dtype=np.int32), lengths)
        nothing = Cells(np.zeros(0, np.int32), np.zeros(0, np.int64))
        cell, pixels = (np.concatenate(column) for column in zip(nothing, *images, strict=True))
        return cls(classes, names, image, cell, pixels)

    @classmethod
    def joined(cls, parts: Sequence[ImageMatrices]) -> ImageMatrices:
        """The images of all ``parts``, one part after the other."""
        starts = np.cumsum([0, *(len(part.names) for part in parts[:-1])])
        return cls(
            parts[0].classes,
            [name for part in parts for name in part.names],
            np.concatenate([part.image + start for part, start in zip(parts, starts, strict=True)]),
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.pixels for part in parts]),
        )

    def in_order(self, order: Sequence[int]) -> ImageMatrices:
        """The images that ``order`` names by their numbers.

        >>> cells = [nonzero_cells(np.array(each)) for each in ([[3, 1], [0, 0]], [[0, 0], [0, 2]])]
        >>> other = ImageMatrices.of(2, ["a", "b"], cells).in_order([1, 0])
        >>> other.names, other.right.tolist(), other.image.tolist()
        (('b', 'a'), [[0, 2], [3, 0]], [0, 1, 1])
        """
        starts = np.searchsorted(self.image, np.arange(len(self.names) + 1))
        cells = [slice(starts[index], starts[index + 1]) for index in order]
        images = [Cells(self.cell[each], self.pixels[each]) for each in cells]
        return ImageMatrices.of(self.classes, [self.names[index] for index in order], images)

    @cached_property
    def right(self) -> np.ndarray:
        """The pixels of each class that are predicted right in each image: (N, K) int64."""
        diagonal = self.cell // self.classes == self.cell % self.classes
        return self._summed(self.cell % self.classes, np.where(diagonal, self.pixels, 0))

    @cached_property
    def truth(self) -> np.ndarray:
        """The pixels of each true class in each image: (N, K) int64."""
        return self._summed(self.cell // self.classes, self.pixels)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The pixels of each predicted class in each image: (N, K) int64."""
        return self._summed(self.cell % self.classes, self.pixels)

    @cached_property
    def union(self) -> np.ndarray:
        """The pixels that are of a class in truth or prediction, in each image: (N, K) int64."""
        return self.truth + self.predicted - self.right

    @cached_property
    def mious(self) -> np.ndarray:
        """The mIoU of each image by itself, over the classes in its truth or its prediction; else NaN: (N,)."""
        return mean_iou(self.right, self.union)

    @cached_property
    def iou(self) -> np.ndarray:
        """The IoU of each class over all images, NaN for a class that never occurs: (K,)."""
        return class_iou(self.right.sum(0), self.union.sum(0))

    @property
    def miou(self) -> float:
        """The mIoU over all images."""
        return float(mean_iou(self.right.sum(0), self.union.sum(0)))

    @cached_property
    def resampled(self) -> Resampled:
        """The metrics of :data:`RESAMPLES` bootstrap resamples of the images."""
        return resample(self.right, self.union)

    def _summed(self, column: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """``pixels`` of each cell added up by image and ``column``: (N, K)."""
        sums = np.bincount(
            self.image.astype(np.int64) * self.classes + column, weights=pixels,
            minlength=len(self.names) * self.classes,
        )  # in float64, which is exact up to 2⁵³ pixels
        return sums.astype(np.int64).reshape(len(self.names), self.classes)


class Resampled(NamedTuple):
    """The metrics of R bootstrap resamples."""

    miou: np.ndarray  # (R,)
    iou: np.ndarray  # (R, K), NaN where a class is in none of the images that were drawn


def resample(right: np.ndarray, union: np.ndarray, resamples: int = RESAMPLES) -> Resampled:
    """Metrics of as many images as there are, drawn from them with replacement, ``resamples`` times.

    This is the bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, with whole
    images: pixels of one image are not independent. The pixels of a class, ``right`` (N, K) and ``union`` (N, K),
    are summed over the images drawn, and then divided, as mIoU is defined.

    Which images are drawn depends on their number alone. So the differences between the resamples of two networks
    on the same images are those of a paired bootstrap.

    >>> same = resample(np.array([[3, 1], [3, 1]]), np.array([[4, 2], [4, 2]]))
    >>> len(same.miou), float(same.miou.min()), float(same.miou.max())
    (2000, 0.625, 0.625)
    """
    images = len(right)
    random = stream("bootstrap", 0, images)
    both = np.concatenate([right, union], axis=1).astype(np.float64)  # (N, 2K)
    sums = np.empty((resamples, both.shape[1]))
    together = max(1, DRAWN_TOGETHER // images)
    for start in range(0, resamples, together):
        rows = min(together, resamples - start)
        drawn = random.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)  # an image was drawn
        sums[start : start + rows] = times @ both
    right, union = np.split(sums, 2, axis=1)
    return Resampled(mean_iou(right, union), class_iou(right, union))


def class_iou(right: np.ndarray, union: np.ndarray) -> np.ndarray:
    """IoU of each class (…, K), NaN for a class that is nowhere."""
    return np.divide(right, union, out=np.full(np.shape(right), np.nan), where=union > 0)


def mean_iou(right: np.ndarray, union: np.ndarray) -> np.ndarray:
    """The mean over the classes (…, K) that are somewhere, NaN where none is: (…)."""
    known = (union > 0).sum(-1)
    total = np.nansum(class_iou(right, union), axis=-1)
    return np.divide(total, known, out=np.full(np.shape(total), np.nan), where=known > 0)


def interval(values: np.ndarray) -> Interval | None:
    """The percentile interval of the resampled ``values`` (R,), which leaves out NaN; None where all are NaN.

    >>> interval(np.arange(0, 201.0))
    Interval(low=5.0, high=195.0)
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, ENDS)
    return Interval(float(low), float(high))
