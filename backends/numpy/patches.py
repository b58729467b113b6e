"""Convolutions of any kind: patches times weights, a block of rows at a time.

A patch is what one window sees, laid out as a row of ``kh·kw·Ci`` values, so that a block of outputs is one matrix
product. The patches of a whole image would take kh·kw times its memory; those of a block stay in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from backends.numpy.threads import for_each, sum_over
from backends.numpy.windows import window

#: Values in the patches of a block.
_VALUES = 1 << 19


class Windows(NamedTuple):
    """Where the windows lie: how many, of how many taps, and how far apart."""

    size: tuple[int, int]  # (H', W')
    taps: tuple[int, int]  # (kh, kw)
    stride: int
    padding: int
    dilation: int

    @property
    def spread(self) -> tuple[int, int]:
        """From the first to the last tap of a window, along each axis."""
        return self.dilation * (self.taps[0] - 1), self.dilation * (self.taps[1] - 1)

    def seen_by(self, rows: int) -> tuple[int, int]:
        """How many padded pixels so many rows of windows reach over, along each axis."""
        return self.stride * (rows - 1) + self.spread[0] + 1, self.stride * (self.size[1] - 1) + self.spread[1] + 1


class Rows(NamedTuple):
    """Some rows of one image."""

    image: int
    first: int
    last: int


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, windows: Windows) -> np.ndarray:
    """Convolve ``x (B, H, W, Ci)`` with ``weight (kh, kw, Ci, Co)``: ``(B, H', W', Co)``."""
    outputs = weight.shape[3]
    matrix = weight.reshape(-1, outputs)  # (kh·kw·Ci, Co)
    y = np.empty((len(x), *windows.size, outputs), x.dtype)

    def compute(rows: Rows) -> None:
        part = y[rows.image, rows.first : rows.last]
        np.matmul(_patches(x, rows, windows), matrix, out=part.reshape(-1, outputs))
        if bias is not None:
            part += bias

    for_each(compute, _blocks(len(x), windows.size, len(matrix)))
    return y


def input_gradient(
    dy: np.ndarray, weight: np.ndarray, x_shape: tuple[int, int, int, int], windows: Windows
) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the sum of the gradients of all patches."""
    (*_, channels, outputs), stride, padding = weight.shape, windows.stride, windows.padding
    matrix = weight.reshape(-1, outputs)  # (kh·kw·Ci, Co)
    dx = np.empty(x_shape, dy.dtype)

    def compute(rows: Rows) -> None:
        # the rows of windows that see these rows of x; those at the edge are computed by two blocks
        first = max(0, -((windows.spread[0] - rows.first - padding) // stride))
        last = min(windows.size[0], (rows.last - 1 + padding) // stride + 1)
        count, columns = last - first, windows.size[1]
        if count < 1:
            dx[rows.image, rows.first : rows.last] = 0
            return
        dpatches = dy[rows.image, first:last].reshape(-1, outputs) @ matrix.T
        dpatches = dpatches.reshape(count, columns, *windows.taps, channels)
        seen = np.zeros((1, *windows.seen_by(count), channels), dy.dtype)
        for i, j in np.ndindex(windows.taps):
            top, left = i * windows.dilation, j * windows.dilation
            under_tap = seen[0, top : top + stride * (count - 1) + 1 : stride]
            under_tap[:, left : left + stride * (columns - 1) + 1 : stride] += dpatches[:, :, i, j]
        height, width = rows.last - rows.first, x_shape[2]
        dx[rows.image, rows.first : rows.last] = window(
            seen, rows.first + padding - stride * first, padding, height, width
        )[0]

    patch_values = len(matrix) // stride**2  # of each pixel of x
    for_each(compute, _blocks(len(dx), x_shape[1:3], max(1, patch_values)))
    return dx


def weight_gradient(
    x: np.ndarray, dy: np.ndarray, weight_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (kh, kw, Ci, Co)``."""
    outputs = dy.shape[3]

    def compute(rows: Rows) -> tuple[np.ndarray]:
        part = dy[rows.image, rows.first : rows.last]
        return (_patches(x, rows, windows).T @ part.reshape(-1, outputs),)

    (dweight,) = sum_over(compute, _blocks(len(x), windows.size, int(np.prod(weight_shape[:3]))))
    return dweight.reshape(weight_shape)


def _patches(x: np.ndarray, rows: Rows, windows: Windows) -> np.ndarray:
    """``(rows·W', kh·kw·Ci)``."""
    count, columns = rows.last - rows.first, windows.size[1]
    padding, stride, dilation = windows.padding, windows.stride, windows.dilation
    image = x[rows.image : rows.image + 1]
    seen = window(image, stride * rows.first - padding, -padding, *windows.seen_by(count))
    _, row, column, channel = seen.strides
    patches = as_strided(
        seen,
        (count, columns, *windows.taps, x.shape[3]),
        (stride * row, stride * column, dilation * row, dilation * column, channel),
    )
    return patches.reshape(count * columns, -1)


def _blocks(batch: int, size: tuple[int, int], patch_values: int) -> list[Rows]:
    """Cut each image into blocks of rows whose patches hold about ``_VALUES`` values."""
    height = min(size[0], max(1, _VALUES // (size[1] * patch_values)))
    return [
        Rows(image, first, min(first + height, size[0]))
        for image in range(batch)
        for first in range(0, size[0], height)
    ]
