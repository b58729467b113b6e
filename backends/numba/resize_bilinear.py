"""Bilinear resizing: an output pixel from four input pixels; backward, a row at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba.compile import kernel, scratch
from reference.ops.checks import check_gradient
from reference.ops.resize_bilinear import check_resize_bilinear, check_rows, neighbours


class ResizeBilinearCache(NamedTuple):
    rows: tuple[np.ndarray, ...]  # each (H',): the rows before and after, and the fraction between them
    columns: tuple[np.ndarray, ...]  # each (W',)
    x_shape: tuple[int, ...]
    dtype: np.dtype


def resize_bilinear(
    x: np.ndarray, size: tuple[int, int], *, align_corners: bool = False
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.resize_bilinear`."""
    check_resize_bilinear(x, size)
    rows, columns = _neighbours(x, size, align_corners)
    y = np.empty((len(x), *size, x.shape[3]), x.dtype)
    _interpolate(len(x) * size[0], x, rows, columns, y)
    return y, ResizeBilinearCache(rows, columns, x.shape, x.dtype)


def resize_bilinear_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.resize_bilinear_backward`."""
    rows, columns, x_shape, dtype = cache
    batch, height, _, channels = x_shape
    check_gradient("resize_bilinear_backward", dy, (batch, len(rows[0]), len(columns[0]), channels), dtype)
    # The rows of dy that a row of dx is before or after; the positions of rows ascend.
    first = np.searchsorted(rows[1], np.arange(height), side="left")
    last = np.searchsorted(rows[0], np.arange(height), side="right")
    dx = np.empty(x_shape, dtype)
    memory = scratch(len(columns[0]) * channels, dtype)
    _collect(batch * height, dy.reshape(batch, len(rows[0]), -1), rows, first, last, columns, memory, dx)
    return dx


def resize_bilinear_rows(
    x: np.ndarray, size: tuple[int, int], rows: tuple[int, int], *, align_corners: bool = False
) -> np.ndarray:
    """See :func:`reference.ops.resize_bilinear_rows`."""
    check_resize_bilinear(x, size)
    check_rows(size, rows)
    every_row, columns = _neighbours(x, size, align_corners)
    y = np.empty((len(x), rows[1] - rows[0], size[1], x.shape[3]), x.dtype)
    part = tuple(each[slice(*rows)] for each in every_row)
    _interpolate(len(x) * len(part[0]), x, part, columns, y)
    return y


def _neighbours(
    x: np.ndarray, size: tuple[int, int], align_corners: bool
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """For rows and for columns: the one before and the one after each output, and the fraction between them."""
    rows, columns = (
        (before, after, fraction.astype(x.dtype))
        for before, after, fraction in (
            neighbours(x.shape[1], size[0], align_corners), neighbours(x.shape[2], size[1], align_corners)
        )
    )  # fmt: skip
    return rows, columns


@kernel
def _interpolate(out, x, rows, columns, y):
    row_before, row_after, row_fraction = rows
    before, after, fraction = columns
    height, width, channels = y.shape[1:]
    one = y.dtype.type(1)
    image, r = out // height, out % height
    upper, lower, down = x[image, row_before[r]], x[image, row_after[r]], row_fraction[r]
    for q in range(width):
        right = fraction[q]
        weights = (one - down) * (one - right), (one - down) * right, down * (one - right), down * right
        x_00, x_01, x_10, x_11 = upper[before[q]], upper[after[q]], lower[before[q]], lower[after[q]]
        pixel = y[image, r, q]
        for c in range(channels):
            pixel[c] = weights[0] * x_00[c] + weights[1] * x_01[c] + weights[2] * x_10[c] + weights[3] * x_11[c]


@kernel
def _collect(out, dy, rows, first, last, columns, memory, dx):
    row_before, row_after, row_fraction = rows
    before, after, fraction = columns
    height, channels = dx.shape[1], dx.shape[3]
    zero, one = dx.dtype.type(0), dx.dtype.type(1)
    image, r = out // height, out % height
    # The sum of the rows of dy for this row, in the columns of dy.
    dmixed = memory[get_thread_id()][: dy.shape[2]]
    dmixed[:] = 0
    for row in range(first[r], last[r]):
        upper, lower = row_before[row] == r, row_after[row] == r
        weight = (one - row_fraction[row] if upper else zero) + (row_fraction[row] if lower else zero)
        given = dy[image, row]
        for k in range(len(dmixed)):
            dmixed[k] += weight * given[k]
    dx[image, r] = 0
    for q in range(len(before)):
        left, right, weight = dx[image, r, before[q]], dx[image, r, after[q]], fraction[q]
        given = dmixed[q * channels : (q + 1) * channels]
        for c in range(channels):
            left[c] += (one - weight) * given[c]
        for c in range(channels):
            right[c] += weight * given[c]
