"""Convolutions of any kind: patches times weights, a block of rows at a time.

A patch is a row of the ``kh·kw·Ci`` values under one window, so that a block of outputs is one matrix product. The
patches of a whole image would take kh·kw times its memory; those of a block stay in the cache.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from backends.numpy.threads import for_each, sum_over
from backends.numpy.windows import Rows, Windows, rows_of

#: Values in the patches of a block.
_VALUES = 1 << 19
#: With fewer channels than this, gradients are summed plane by plane, so that NumPy's inner loop is long.
_FEW_CHANNELS = 16


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
    dy: np.ndarray, weight: np.ndarray, x_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the sum of the gradients of all patches."""
    *_, channels, outputs = weight.shape
    matrix = weight.reshape(-1, outputs)  # (kh·kw·Ci, Co)
    dx = np.empty(x_shape, dy.dtype)
    planar = channels < _FEW_CHANNELS

    def compute(rows: Rows) -> None:
        over = windows.over(rows)
        # patches @ matrix
        rows_of_dy = dy[over.image, over.first : over.last].reshape(-1, outputs)
        dpatches = (matrix @ rows_of_dy.T).T if planar else rows_of_dy @ matrix.T
        by_tap = dpatches.reshape(-1, windows.size[1], np.prod(windows.taps), channels)
        dregion = windows.zero_region(over, channels, dy.dtype, planar)
        for tap, under_tap in enumerate(windows.under_taps(dregion)):
            under_tap += by_tap[:, :, tap]
        windows.crop(dregion, over, dx, rows)

    for_each(compute, _blocks(len(dx), dx.shape[1:3], max(1, len(matrix) // windows.stride**2)))
    return dx


def weight_gradient(
    x: np.ndarray, dy: np.ndarray, weight_shape: tuple[int, ...], windows: Windows
) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (kh, kw, Ci, Co)``."""

    def compute(rows: Rows) -> tuple[np.ndarray]:
        part = dy[rows.image, rows.first : rows.last]
        return (_patches(x, rows, windows).T @ part.reshape(-1, dy.shape[3]),)

    (dweight,) = sum_over(compute, _blocks(len(x), windows.size, int(np.prod(weight_shape[:3]))))
    return dweight.reshape(weight_shape)


def _patches(x: np.ndarray, rows: Rows, windows: Windows) -> np.ndarray:
    """``(rows·W', kh·kw·Ci)``."""
    region = windows.region(x, rows)
    _, row, column, channel = region.strides
    stride, dilation = windows.stride, windows.dilation
    patches = as_strided(
        region,
        (rows.last - rows.first, windows.size[1], *windows.taps, x.shape[3]),
        (stride * row, stride * column, dilation * row, dilation * column, channel),
        writeable=False,
    )
    return patches.reshape(patches.shape[0] * patches.shape[1], -1)


def _blocks(batch: int, size: tuple[int, ...], patch_values: int) -> list[Rows]:
    return rows_of(batch, size[0], _VALUES // (size[1] * patch_values))
