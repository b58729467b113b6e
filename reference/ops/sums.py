"""Sums over all pixels, one for each channel."""

from __future__ import annotations

import numpy as np


def channel_sum(x: np.ndarray) -> np.ndarray:
    """Sum ``x`` ``(…, C)`` over all axes but the last: ``(C,)``, of the dtype of ``x``.

    The sum is taken in float64: NumPy adds the rows of a channels-last array one after the other, and over the
    hundred thousand pixels of a batch, float32 would lose more than half of its digits.

    >>> x = np.full((300_000, 1), 0.1, np.float32)
    >>> print(channel_sum(x)[0])
    30000.0
    """
    return x.sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64).astype(x.dtype)


def channel_mean(x: np.ndarray) -> np.ndarray:
    """Average ``x`` ``(…, C)`` over all axes but the last: ``(C,)``, of the dtype of ``x``."""
    return x.mean(axis=tuple(range(x.ndim - 1)), dtype=np.float64).astype(x.dtype)
