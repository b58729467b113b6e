"""The mean over all pixels of each image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class GlobalMeanPoolCache(NamedTuple):
    x_shape: tuple[int, ...]
    dtype: np.dtype


def global_mean_pool(x: np.ndarray) -> tuple[np.ndarray, GlobalMeanPoolCache]:
    """One value for each channel of each image: ``y[c] = Σ_hw x[h, w, c] / (H·W)``.

    Shapes: ``x (B, H, W, C)`` of any floating dtype → ``(B, C)``; the sum runs in float64. Caches no values.
    Raises :class:`OpError` for other shapes or dtypes.

    >>> y, cache = global_mean_pool(np.arange(8.0).reshape(1, 2, 2, 2))
    >>> y
    array([[3., 4.]])
    """
    check_arrays("global_mean_pool", x=(x, "B H W C"))

    y = x.mean(axis=(1, 2), dtype=np.float64).astype(x.dtype)  # (B, C)
    return y, GlobalMeanPoolCache(x.shape, x.dtype)


def global_mean_pool_backward(dy: np.ndarray, cache: GlobalMeanPoolCache) -> np.ndarray:
    """From ``dy (B, C)``: ``dx (B, H, W, C)``, spread equally over the pixels.

    >>> y, cache = global_mean_pool(np.zeros((1, 2, 2, 1)))
    >>> global_mean_pool_backward(np.ones((1, 1)), cache).ravel()
    array([0.25, 0.25, 0.25, 0.25])
    """
    batch, height, width, channels = cache.x_shape
    check_gradient("global_mean_pool_backward", dy, (batch, channels), cache.dtype)
    # y = x.mean(axis=(1, 2), dtype=np.float64).astype(x.dtype)
    return np.full(cache.x_shape, dy[:, None, None, :] / (height * width))  # (B, H, W, C)
