"""Products of tall matrices, cut into blocks of rows for the threads."""

from __future__ import annotations

import numpy as np

from backends.numpy.threads import for_each, sum_over

_ROWS, _VALUES = 1024, 1 << 19


def multiply(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """``x (M, K) · weight (K, N) + bias (N,)``: ``(M, N)``."""
    y = np.empty((len(x), weight.shape[1]), x.dtype)

    def compute(rows: slice) -> None:
        np.matmul(x[rows], weight, out=y[rows])
        if bias is not None:
            y[rows] += bias

    for_each(compute, _blocks(len(x), max(weight.shape)))
    return y


def multiply_transposed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``xᵀ (K, M) · y (M, N)``: ``(K, N)``."""
    (product,) = sum_over(
        lambda rows: (x[rows].T @ y[rows],), _blocks(len(x), max(x.shape[1], y.shape[1]))
    )
    return product


def _blocks(rows: int, width: int) -> list[slice]:
    height = max(_ROWS, _VALUES // width)
    return [slice(first, first + height) for first in range(0, rows, height)]
