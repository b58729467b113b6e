"""The images on which a network does worst and best."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segattn_cli.data import Sample
from segattn_cli.data.images import resize_image, resize_label
from segattn_cli.prediction.metrics import ConfusionMatrix

#: Examples are stored with their longer side at most so many pixels.
LONGEST = 640


@dataclass(frozen=True)
class Example:
    """An image with its truth and its prediction, at no more than :data:`LONGEST` pixels a side."""

    name: str
    image: np.ndarray = field(repr=False)  # (H, W, 3) uint8
    truth: np.ndarray = field(repr=False)  # (H, W) uint8, 255 = ignored
    prediction: np.ndarray = field(repr=False)  # (H, W) uint8
    miou: float  # of this image by itself, at its own size
    accuracy: float


class Examples:
    """The ``count`` images with the lowest mIoU and the ``count`` with the highest; no more are in memory.

    The mIoU of an image by itself is over the classes in its truth or its prediction. Images without a labelled
    pixel have none and are left out.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._ranked: list[tuple[float, int, Example]] = []  # the worst first; the middle falls out

    def update(self, number: int, sample: Sample, prediction: np.ndarray, matrix: ConfusionMatrix) -> None:
        """Rank image ``number`` by the ``matrix`` of its ``prediction`` (H, W); of equal ones, by its number."""
        if self.count and matrix.pixels:
            self._rank([(matrix.miou, number, _example(sample, prediction, matrix))])

    def add(self, other: Examples) -> None:
        """Rank the images of ``other``, too."""
        self._rank(other._ranked)

    def _rank(self, more: list[tuple[float, int, Example]]) -> None:
        self._ranked = sorted([*self._ranked, *more], key=lambda ranked: ranked[:2])
        del self._ranked[self.count : len(self._ranked) - self.count]

    @property
    def worst(self) -> list[Example]:
        """The worst first; no image is among both the worst and the best."""
        return [example for _, _, example in self._ranked[: len(self._ranked) // 2]]

    @property
    def best(self) -> list[Example]:
        """The best first."""
        return [example for _, _, example in self._ranked[len(self._ranked) // 2 :][::-1]]


def _example(sample: Sample, prediction: np.ndarray, matrix: ConfusionMatrix) -> Example:
    height, width = sample.label.shape
    factor = min(1.0, LONGEST / max(height, width))
    size = max(1, round(factor * height)), max(1, round(factor * width))
    return Example(
        sample.name,
        resize_image(sample.image, size),
        resize_label(sample.label, size),
        resize_label(prediction, size),
        matrix.miou,
        matrix.pixel_accuracy,
    )
