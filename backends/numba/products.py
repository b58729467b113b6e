"""Products of tall matrices, in blocks for the threads."""

from __future__ import annotations

import numpy as np
from numba import prange

from backends.numba import blas
from backends.numba.compile import inner, kernel
from backends.numba.finish import Finish, finish_pixel

#: Multiply-adds of a large block: BLAS is faster on large blocks, but there are at least four for the threads.
_LARGE = 1 << 28
#: Values in a result that is small enough to be summed once for each block of rows.
_FEW = 1 << 18


def multiply(x: np.ndarray, weight: np.ndarray, *, finish: Finish | None = None) -> np.ndarray:
    """``x (M, K) · weight (K, N)`` and the epilogue: ``(M, N)``; the weight may be a transposed view."""
    y = np.empty((len(x), weight.shape[1]), x.dtype)
    transposed = weight.strides[0] < weight.strides[1]
    _multiply(x, weight.T if transposed else weight, transposed, finish is not None, finish or Finish.of(weight), y)
    return y


def multiply_transposed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``xᵀ (K, M) · y (M, N)``: ``(K, N)``."""
    product = np.zeros((x.shape[1], y.shape[1]), x.dtype)
    add_transposed(x, y, product)
    return product


def add_transposed(x: np.ndarray, y: np.ndarray, product: np.ndarray) -> None:
    """``product (K, N) += xᵀ (K, M) · y (M, N)``, in place."""
    if product.size <= _FEW:
        _add_by_rows(x, y, product)
    else:
        _add_by_columns(x, y, product)


@inner
def _blocks(length, multiply_adds):
    """The number of blocks along an axis of this ``length``."""
    wanted = min(max(4, multiply_adds // _LARGE), max(8, multiply_adds // (4 * _LARGE)))
    return min(wanted, -(-length // 64))


@kernel
def _multiply(x, weight, transposed, finishes, finish, y):
    rows, columns = y.shape
    longer = max(rows, columns)
    blocks = _blocks(longer, x.size * columns)
    for block in prange(blocks):
        first, last = block * longer // blocks, (block + 1) * longer // blocks
        top, bottom = (first, last) if rows >= columns else (0, rows)
        left, right = (0, columns) if rows >= columns else (first, last)
        if transposed:
            blas.multiply(x[top:bottom], weight.T[:, left:right], y[top:bottom, left:right], False)
        else:
            blas.multiply(x[top:bottom], weight[:, left:right], y[top:bottom, left:right], False)
        if finishes:
            for row in range(top, bottom):
                finish_pixel(y[row, left:right], row, left, finish, y[row, left:right])


@kernel
def _add_by_rows(x, y, product):
    blocks = min(8, _blocks(len(x), x.size * y.shape[1]))
    parts = np.empty((blocks, *product.shape), x.dtype)
    for block in prange(blocks):
        first, last = block * len(x) // blocks, (block + 1) * len(x) // blocks
        blas.multiply(x[first:last].T, y[first:last], parts[block], False)
    for block in range(blocks):
        product += parts[block]


@kernel
def _add_by_columns(x, y, product):
    columns = x.shape[1]
    blocks = _blocks(columns, x.size * y.shape[1])
    for block in prange(blocks):
        first, last = block * columns // blocks, (block + 1) * columns // blocks
        blas.multiply(x[:, first:last].T, y, product[first:last], True)
