"""Max pooling, in blocks of rows; the backward pass determines the winning taps again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numpy.threads import for_each
from backends.numpy.windows import Rows, Windows, rows_of
from reference.ops.checks import check_gradient
from reference.ops.max_pool2d import check_max_pool2d
from reference.ops.windows import output_size

#: Values in a block.
_VALUES = 1 << 17


class MaxPool2dCache(NamedTuple):
    x: np.ndarray  # (B, H, W, C), in memory anyway
    y: np.ndarray  # (B, H', W', C), in memory anyway
    windows: Windows


def max_pool2d(x: np.ndarray, *, window: int, stride: int, padding: int = 0) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.max_pool2d`.

    >>> x = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]]).reshape(1, 2, 3, 1)
    >>> y, cache = max_pool2d(x, window=2, stride=1)
    >>> y[0, :, :, 0]
    array([[5., 6.]])
    """
    check_max_pool2d(x, window=window, stride=stride, padding=padding)
    size = output_size("max_pool2d", x.shape[1:3], (window, window), stride=stride, padding=padding)
    windows = Windows(size, (window, window), stride, padding)
    y = np.empty((len(x), *size, x.shape[3]), x.dtype)

    def compute(rows: Rows) -> None:
        largest = y[rows.image, rows.first : rows.last]
        largest[:] = -np.inf
        for under_tap in windows.under_taps(windows.region(x, rows, outside=-np.inf)):
            np.maximum(largest, under_tap, out=largest)

    for_each(compute, rows_of(len(y), size[0], _VALUES // y[0, 0].size))
    return y, MaxPool2dCache(x, y, windows)


def max_pool2d_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.max_pool2d_backward`.

    >>> x = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]]).reshape(1, 2, 3, 1)
    >>> y, cache = max_pool2d(x, window=2, stride=1)
    >>> max_pool2d_backward(np.array([7.0, 8.0]).reshape(1, 1, 2, 1), cache)[0, :, :, 0]
    array([[0., 7., 0.],
           [0., 0., 8.]])
    """
    x, y, windows = cache
    check_gradient("max_pool2d_backward", dy, y.shape, y.dtype)
    dx = np.empty(x.shape, x.dtype)

    def compute(rows: Rows) -> None:
        over = windows.over(rows)
        part = over.image, slice(over.first, over.last)
        undecided = np.ones(y[part].shape, bool)  # windows without a winner so far
        dregion = windows.zero_region(over, x.shape[3], x.dtype)
        region = windows.region(x, over, outside=-np.inf)
        for under_tap, dunder_tap in zip(windows.under_taps(region), windows.under_taps(dregion), strict=True):
            won = (under_tap == y[part]) & undecided
            undecided &= ~won
            dunder_tap += dy[part] * won
        windows.crop(dregion, over, dx, rows)

    for_each(compute, rows_of(len(x), x.shape[1], _VALUES // x[0, 0].size))
    return dx
