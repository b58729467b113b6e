"""Flat shapes painted into an image and, at the same time, into its label map."""

from __future__ import annotations

import numpy as np


class Canvas:
    """An image and its label map, to paint on.

    Positions are (y, x) from the top left. All lengths are fractions of the image's height, so that a drawing looks
    the same at every size. Shapes may reach over the edges.

    >>> canvas = Canvas((4, 8))
    >>> canvas.box(0.5, 0.0, 1.0, 1.0, np.array([255, 0, 0]), 7)
    >>> canvas.label.tolist()
    [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [7, 7, 7, 7, 0, 0, 0, 0], [7, 7, 7, 7, 0, 0, 0, 0]]
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.height, self.width = size
        self.aspect = self.width / self.height
        self.image = np.zeros((*size, 3), np.float32)
        self.label = np.zeros(size, np.uint8)

    def box(self, top: float, left: float, bottom: float, right: float, colour: np.ndarray, label: int) -> None:
        """Fill a rectangle."""
        region = self._region(top, left, bottom, right)
        self.image[region] = colour
        self.label[region] = label

    def ellipse(self, y: float, x: float, ry: float, rx: float, colour: np.ndarray, label: int) -> None:
        """Fill an ellipse around (y, x)."""
        region = self._region(y - ry, x - rx, y + ry, x + rx)
        rows, columns = self._centres(region)
        inside = ((rows - y) / ry) ** 2 + ((columns - x) / rx) ** 2 <= 1
        self.image[region][inside] = colour
        self.label[region][inside] = label

    def trapezoid(
        self,
        top: float,
        bottom: float,
        x: float,
        half_top: float,
        half_bottom: float,
        colour: np.ndarray,
        label: int,
    ) -> None:
        """Fill between two horizontal edges, both centred on x, of the given half lengths."""
        widest = max(half_top, half_bottom)
        region = self._region(top, x - widest, bottom, x + widest)
        rows, columns = self._centres(region)
        half = half_top + (half_bottom - half_top) * (rows - top) / (bottom - top)
        inside = np.abs(columns - x) <= half
        self.image[region][inside] = colour
        self.label[region][inside] = label

    def shade(self, top: float, left: float, bottom: float, right: float, factor: float) -> None:
        """Darken or lighten a rectangle, without changing the labels."""
        self.image[self._region(top, left, bottom, right)] *= np.float32(factor)

    def _region(self, top: float, left: float, bottom: float, right: float) -> tuple[slice, slice]:
        first_row, first_column, last_row, last_column = (
            max(0, int(length * self.height + 0.5)) for length in (top, left, bottom, right)
        )
        return slice(first_row, last_row), slice(first_column, last_column)

    def _centres(self, region: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """The centres of a region's pixels: y as a column, x as a row."""
        rows = np.arange(*region[0].indices(self.height), dtype=np.float32)[:, None]
        columns = np.arange(*region[1].indices(self.width), dtype=np.float32)
        return (rows + 0.5) / self.height, (columns + 0.5) / self.width * self.aspect
