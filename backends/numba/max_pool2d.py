"""Max pooling; a byte for each output is the tap that won."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numba.compile import kernel
from reference.ops.checks import check_gradient
from reference.ops.max_pool2d import check_max_pool2d
from reference.ops.windows import output_size


class MaxPool2dCache(NamedTuple):
    winner: np.ndarray  # (B, H', W', C), the tap i·window + j that won
    x_shape: tuple[int, ...]
    dtype: np.dtype
    window: int
    stride: int
    padding: int


def max_pool2d(x: np.ndarray, *, window: int, stride: int, padding: int = 0) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.max_pool2d`."""
    check_max_pool2d(x, window=window, stride=stride, padding=padding)
    size = output_size("max_pool2d", x.shape[1:3], (window, window), stride=stride, padding=padding)
    y = np.empty((len(x), *size, x.shape[3]), x.dtype)
    winner = np.empty(y.shape, np.uint8 if window < 16 else np.int32)
    _pool(y.shape[0] * y.shape[1], x, window, stride, padding, y, winner)
    return y, MaxPool2dCache(winner, x.shape, x.dtype, window, stride, padding)


def max_pool2d_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.max_pool2d_backward`."""
    winner, x_shape, dtype, window, stride, padding = cache
    check_gradient("max_pool2d_backward", dy, winner.shape, dtype)
    dx = np.empty(x_shape, dtype)
    _spread(dx.shape[0] * dx.shape[1], dy, winner, window, stride, padding, dx)
    return dx


@kernel
def _pool(out, x, window, stride, padding, y, winner):
    height, width, channels = y.shape[1:]
    image, r = out // height, out % height
    for q in range(width):
        largest, won = y[image, r, q], winner[image, r, q]
        largest[:] = -np.inf
        won[:] = 0
        for i in range(window):
            for j in range(window):
                row, column = r * stride + i - padding, q * stride + j - padding
                if not (0 <= row < x.shape[1] and 0 <= column < x.shape[2]):
                    continue
                tap = winner.dtype.type(i * window + j)
                pixel = x[image, row, column]
                for c in range(channels):
                    better = pixel[c] > largest[c] or (pixel[c] != pixel[c] and largest[c] == largest[c])
                    won[c] = tap if better else won[c]
                    largest[c] = pixel[c] if better else largest[c]  # the first NaN stays


@kernel
def _spread(out, dy, winner, window, stride, padding, dx):
    height, width, channels = dx.shape[1:]
    zero = dx.dtype.type(0)
    image, r = out // height, out % height
    dx[image, r] = 0
    # The rows of windows over this row of the image.
    top = max(0, -((window - 1 - r - padding) // stride))
    bottom = min(dy.shape[1], (r + padding) // stride + 1)
    for row in range(top, bottom):
        i = r + padding - row * stride
        for q in range(dy.shape[2]):
            for j in range(window):
                column = q * stride + j - padding
                if 0 <= column < width:
                    tap = i * window + j
                    won, given, pixel = winner[image, row, q], dy[image, row, q], dx[image, r, column]
                    for c in range(channels):
                        pixel[c] += given[c] if won[c] == tap else zero
