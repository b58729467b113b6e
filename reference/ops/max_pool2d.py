"""Two-dimensional max pooling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays, check_gradient, check_integers
from reference.ops.windows import crop, output_size, pad, under_tap


class MaxPool2dCache(NamedTuple):
    winner: np.ndarray  # (B, H', W', C), the tap i·window + j that won
    x_shape: tuple[int, ...]
    dtype: np.dtype
    window: int
    stride: int
    padding: int


def max_pool2d(x: np.ndarray, *, window: int, stride: int, padding: int = 0) -> tuple[np.ndarray, MaxPool2dCache]:
    """The largest value in each window, per channel. ::

        y[h, w, c] = max_ij x_padded[h·stride + i, w·stride + j, c]        for 0 ≤ i, j < window

    Padding counts as −∞: it never wins, and as it is narrower than the window, every window holds a pixel of the
    image.

    Shapes: ``x (B, H, W, C)`` → ``(B, H', W', C)`` with ``H' = ⌊(H + 2·padding − window) / stride⌋ + 1``, of any
    floating dtype. Caches which tap won. Raises :class:`OpError` for other shapes or dtypes, a window or stride
    below 1, padding as wide as the window, and an image that is smaller, with its padding, than one window.

    >>> x = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]]).reshape(1, 2, 3, 1)
    >>> y, cache = max_pool2d(x, window=2, stride=1)
    >>> y[0, :, :, 0]
    array([[5., 6.]])
    """
    check_max_pool2d(x, window=window, stride=stride, padding=padding)
    size = output_size("max_pool2d", x.shape[1:3], (window, window), stride=stride, padding=padding)

    x_padded = pad(x, padding, -np.inf)  # (B, H + 2p, W + 2p, C)
    taps = np.stack(
        [x_padded[under_tap(i, j, size, stride=stride)] for i, j in np.ndindex(window, window)]
    )  # (window², B, H', W', C)
    winner = taps.argmax(axis=0)  # (B, H', W', C), the first on a tie
    y = np.take_along_axis(taps, winner[None], axis=0)[0]  # (B, H', W', C)
    return y, MaxPool2dCache(winner, x.shape, x.dtype, window, stride, padding)


def max_pool2d_backward(dy: np.ndarray, cache: MaxPool2dCache) -> np.ndarray:
    """From ``dy (B, H', W', C)``: ``dx (B, H, W, C)``. The pixel that won gets the gradient of its window.

    On a tie that is the first in row order; a pixel that won several windows gets the sum.

    >>> x = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]]).reshape(1, 2, 3, 1)
    >>> y, cache = max_pool2d(x, window=2, stride=1)
    >>> max_pool2d_backward(np.array([7.0, 8.0]).reshape(1, 1, 2, 1), cache)[0, :, :, 0]
    array([[0., 7., 0.],
           [0., 0., 8.]])
    """
    winner, (batch, height, width, channels), dtype, window, stride, padding = cache
    check_gradient("max_pool2d_backward", dy, winner.shape, dtype)

    size = (winner.shape[1], winner.shape[2])
    dx_padded = np.zeros((batch, height + 2 * padding, width + 2 * padding, channels), dtype)
    for tap, (i, j) in enumerate(np.ndindex(window, window)):
        # y = np.take_along_axis(taps, winner[None], axis=0)[0]
        dx_padded[under_tap(i, j, size, stride=stride)] += np.where(winner == tap, dy, 0)
    # x_padded = pad(x, padding, -np.inf)
    return crop(dx_padded, padding)  # (B, H, W, C)


def check_max_pool2d(x: Any, *, window: int, stride: int, padding: int) -> None:
    """Check the arguments of a max pooling. Padding is narrower than the window, so that it never wins."""
    check_arrays("max_pool2d", x=(x, "B H W C"))
    check_integers("max_pool2d", at_least=1, window=window, stride=stride)
    check_integers("max_pool2d", at_least=0, padding=padding)
    if padding >= window:
        raise OpError(f"max_pool2d: padding is {padding}, wants less than the window of {window}.")
