"""Windows that slide over a padded image, a few rows at a time, without padding the whole image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """Some rows of one image of a batch."""

    image: int
    first: int
    last: int


def rows_of(batch: int, height: int, most: int) -> list[Rows]:
    """Cut each image into blocks of at most ``most`` rows."""
    step = max(1, min(height, most))
    return [
        Rows(image, first, min(first + step, height)) for image in range(batch) for first in range(0, height, step)
    ]


class Windows(NamedTuple):
    """The positions of the windows: their number, their taps, and their distance."""

    size: tuple[int, int]  # (H', W')
    taps: tuple[int, int]  # (kh, kw)
    stride: int
    padding: int
    dilation: int = 1

    def region(self, x: np.ndarray, rows: Rows, outside: float = 0.0) -> np.ndarray:
        """The region of ``x (B, H, W, C)`` under these rows of windows, padded: ``(1, height, width, C)``."""
        image = x[rows.image : rows.image + 1]
        top = self.stride * rows.first - self.padding
        return window(image, top, -self.padding, *self._reach(rows.last - rows.first), outside)

    def under_taps(self, region: np.ndarray) -> Iterator[np.ndarray]:
        """The view ``(rows, W', C)`` of the pixels of ``region`` under each tap, tap by tap."""
        stride = self.stride
        rows = (region.shape[1] - self.dilation * (self.taps[0] - 1) - 1) // stride + 1
        for i, j in np.ndindex(self.taps):
            top, left = i * self.dilation, j * self.dilation
            yield region[0, top : top + stride * rows : stride, left : left + stride * self.size[1] : stride]

    def over(self, rows: Rows) -> Rows:
        """The rows of windows over any of these rows of the image; neighbouring blocks share some of them."""
        spread = self.dilation * (self.taps[0] - 1)
        first = max(0, -((spread - rows.first - self.padding) // self.stride))
        last = min(self.size[0], (rows.last - 1 + self.padding) // self.stride + 1)
        return Rows(rows.image, first, max(first, last))

    def zero_region(self, windows: Rows, channels: int, dtype: np.dtype, planar: bool = False) -> np.ndarray:
        """Zeros of the shape of :meth:`region`, to sum gradients in; channels first in memory if ``planar``."""
        size = self._reach(windows.last - windows.first)
        if planar:
            return np.zeros((1, channels, *size), dtype).transpose(0, 2, 3, 1)
        return np.zeros((1, *size, channels), dtype)

    def crop(self, region: np.ndarray, windows: Rows, dx: np.ndarray, rows: Rows) -> None:
        """Write to these rows of ``dx (B, H, W, C)`` from the ``region`` under the rows ``windows``."""
        top = rows.first + self.padding - self.stride * windows.first
        part = window(region, top, self.padding, rows.last - rows.first, dx.shape[2])
        dx[rows.image, rows.first : rows.last] = part[0]

    def _reach(self, rows: int) -> tuple[int, int]:
        height, width = (
            self.stride * (count - 1) + self.dilation * (taps - 1) + 1
            for count, taps in zip((rows, self.size[1]), self.taps, strict=True)
        )
        return max(0, height), width


def window(x: np.ndarray, top: int, left: int, height: int, width: int, outside: float = 0.0) -> np.ndarray:
    """A copy of ``x (B, H, W, C)`` from pixel ``(top, left)`` on, with a constant outside of the image.

    >>> window(np.ones((1, 2, 2, 1), np.int8), -1, 0, 3, 3)[0, :, :, 0]
    array([[0, 0, 0],
           [1, 1, 0],
           [1, 1, 0]], dtype=int8)
    """
    first_row, last_row = _inside(top, height, x.shape[1])
    first_column, last_column = _inside(left, width, x.shape[2])
    rows, columns = slice(first_row, last_row), slice(first_column, last_column)
    copy = np.empty((len(x), height, width, x.shape[3]), x.dtype)
    copy[:, :first_row] = outside
    copy[:, last_row:] = outside
    copy[:, rows, :first_column] = outside
    copy[:, rows, last_column:] = outside
    copy[:, rows, columns] = x[:, top + first_row : top + last_row, left + first_column : left + last_column]
    return copy


def _inside(start: int, length: int, size: int) -> tuple[int, int]:
    """The first and the last of the ``length`` pixels from ``start`` on that are inside of ``size`` pixels."""
    first = min(max(0, -start), length)
    return first, max(first, min(length, size - start))
