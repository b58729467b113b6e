"""Fusion by the mean over scales, a baseline of Attention to Scale (Chen et al., CVPR 2016)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class ScaleMeanCache(NamedTuple):
    scores_shape: tuple[int, ...]
    dtype: np.dtype


def scale_mean(scores: np.ndarray) -> tuple[np.ndarray, ScaleMeanCache]:
    """Every scale has the same weight at every pixel: ``g_ic = Σ_s f_ics / S``.

    Shapes: ``scores (S, B, H, W, K)`` of any floating dtype → ``(B, H, W, K)``. Caches no values. Raises
    :class:`OpError` for other shapes or dtypes.

    >>> y, cache = scale_mean(np.array([[1.0, 7.0], [5.0, 2.0]]).reshape(2, 1, 1, 1, 2))
    >>> y.ravel()
    array([3. , 4.5])
    """
    check_arrays("scale_mean", scores=(scores, "S B H W K"))

    y = scores.mean(axis=0)  # (B, H, W, K)
    return y, ScaleMeanCache(scores.shape, scores.dtype)


def scale_mean_backward(dy: np.ndarray, cache: ScaleMeanCache) -> np.ndarray:
    """From ``dy (B, H, W, K)``: ``dscores (S, B, H, W, K)``, spread equally over the scales.

    >>> y, cache = scale_mean(np.zeros((2, 1, 1, 1, 1)))
    >>> scale_mean_backward(np.ones((1, 1, 1, 1)), cache).ravel()
    array([0.5, 0.5])
    """
    scales, *y_shape = cache.scores_shape
    check_gradient("scale_mean_backward", dy, tuple(y_shape), cache.dtype)
    # y = scores.mean(axis=0)
    return np.full(cache.scores_shape, dy / scales)  # (S, B, H, W, K)
