"""Bilinear resizing as products with the two interpolation matrices, of which a block of rows needs only a band."""

from __future__ import annotations

import numpy as np

from backends.numpy.threads import for_each
from backends.numpy.windows import Rows, rows_of
from reference.ops.checks import check_gradient
from reference.ops.resize_bilinear import (
    ResizeBilinearCache,
    check_resize_bilinear,
    check_rows,
    interpolation_matrix,
)

#: Values in a block of the result.
_VALUES = 1 << 17


def resize_bilinear(
    x: np.ndarray, size: tuple[int, int], *, align_corners: bool = False
) -> tuple[np.ndarray, ResizeBilinearCache]:
    """See :func:`reference.ops.resize_bilinear`.

    >>> y, cache = resize_bilinear(np.array([0.0, 4.0]).reshape(1, 1, 2, 1), (1, 4))
    >>> y[0].ravel()
    array([0., 1., 3., 4.])
    """
    check_resize_bilinear(x, size)
    vertical = interpolation_matrix(x.shape[1], size[0], align_corners).astype(x.dtype)  # (H', H)
    horizontal = interpolation_matrix(x.shape[2], size[1], align_corners).astype(x.dtype)  # (W', W)
    columns_first = size[0] > x.shape[1]
    return _apply(vertical, horizontal, x, columns_first), ResizeBilinearCache(vertical, horizontal, x.shape)


def resize_bilinear_backward(dy: np.ndarray, cache: ResizeBilinearCache) -> np.ndarray:
    """See :func:`reference.ops.resize_bilinear_backward`.

    >>> y, cache = resize_bilinear(np.zeros((1, 1, 2, 1)), (1, 4))
    >>> resize_bilinear_backward(np.array([1.0, 0.0, 4.0, 0.0]).reshape(1, 1, 4, 1), cache).ravel()
    array([2., 3.])
    """
    vertical, horizontal, (batch, _, _, channels) = cache
    y_shape = (batch, len(vertical), len(horizontal), channels)
    check_gradient("resize_bilinear_backward", dy, y_shape, vertical.dtype)
    return _apply(vertical.T, horizontal.T, dy, vertical.shape[1] > dy.shape[1])


def resize_bilinear_rows(
    x: np.ndarray, size: tuple[int, int], rows: tuple[int, int], *, align_corners: bool = False
) -> np.ndarray:
    """See :func:`reference.ops.resize_bilinear_rows`.

    >>> resize_bilinear_rows(np.array([0.0, 4.0]).reshape(1, 2, 1, 1), (4, 1), (1, 3)).ravel()
    array([1., 3.])
    """
    check_resize_bilinear(x, size)
    check_rows(size, rows)
    vertical = interpolation_matrix(x.shape[1], size[0], align_corners).astype(x.dtype)[slice(*rows)]
    horizontal = interpolation_matrix(x.shape[2], size[1], align_corners).astype(x.dtype)  # (W', W)
    used = np.flatnonzero(vertical.any(axis=0))
    band = slice(used[0], used[-1] + 1)
    return _apply(vertical[:, band], horizontal, x[:, band], size[0] > x.shape[1])


def _apply(vertical: np.ndarray, horizontal: np.ndarray, x: np.ndarray, columns_first: bool) -> np.ndarray:
    """``vertical · x · horizontalᵀ`` for each channel; columns first where that gives the smaller map between."""
    if columns_first:
        return _mix_rows(vertical, _mix_columns(horizontal, x))
    return _mix_columns(horizontal, _mix_rows(vertical, x))


def _mix_rows(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``(H', H)`` times ``(B, H, W, C)``: ``(B, H', W, C)``."""
    y = np.empty((len(x), len(matrix), *x.shape[2:]), x.dtype)

    def mix(rows: Rows) -> None:
        weights = matrix[rows.first : rows.last]
        used = np.flatnonzero(weights.any(axis=0))
        band = slice(used[0], used[-1] + 1) if used.size else slice(0, 1)
        inputs, out = x[rows.image, band], y[rows.image, rows.first : rows.last]
        np.matmul(weights[:, band], inputs.reshape(len(inputs), -1), out=out.reshape(len(out), -1))

    for_each(mix, rows_of(len(x), len(matrix), _VALUES // y[0, 0].size))
    return y


def _mix_columns(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``(W', W)`` times each row of ``(B, H, W, C)``: ``(B, H, W', C)``."""
    y = np.empty((*x.shape[:2], len(matrix), x.shape[3]), x.dtype)

    def mix(rows: Rows) -> None:
        part = rows.image, slice(rows.first, rows.last)
        np.matmul(matrix, x[part], out=y[part])

    for_each(mix, rows_of(len(x), x.shape[1], _VALUES // y[0, 0].size))
    return y
