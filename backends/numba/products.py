"""Products of tall matrices, cut into blocks for the threads."""

from __future__ import annotations

import numpy as np
from numba import prange

from backends.numba import blas
from backends.numba.compile import inner, kernel

#: A block has at least so many multiply-adds, if there are four blocks then: BLAS is quicker on large ones.
_LARGE = 1 << 28
#: Values in a result that are few enough to be summed up once for each block of rows.
_FEW = 1 << 18


def multiply(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """``x (M, K) · weight (K, N) + bias (N,)``: ``(M, N)``; the weight may be a transposed view."""
    y = np.empty((len(x), weight.shape[1]), x.dtype)
    turned = weight.strides[0] < weight.strides[1]
    _multiply(x, weight.T if turned else weight, turned, _no_bias(weight) if bias is None else bias, y)
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
    """How many blocks to cut a ``length`` into."""
    return min(max(4, multiply_adds // _LARGE), -(-length // 64))


@kernel
def _multiply(x, weight, turned, bias, y):
    blocks = _blocks(len(x), x.size * y.shape[1])
    for block in prange(blocks):
        first, last = block * len(x) // blocks, (block + 1) * len(x) // blocks
        if turned:
            blas.multiply(x[first:last], weight.T, y[first:last], False)
        else:
            blas.multiply(x[first:last], weight, y[first:last], False)
        if len(bias):
            for row in range(first, last):
                out = y[row]
                for channel in range(len(out)):
                    out[channel] += bias[channel]


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


def _no_bias(weight: np.ndarray) -> np.ndarray:
    return np.empty(0, weight.dtype)
