"""Fusion by the maximum over scales, a baseline of Attention to Scale (Chen et al., CVPR 2016)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class ScaleMaxCache(NamedTuple):
    winner: np.ndarray  # (B, H, W, K), the scale that won
    scores_shape: tuple[int, ...]
    dtype: np.dtype


def scale_max(scores: np.ndarray) -> tuple[np.ndarray, ScaleMaxCache]:
    """Every class of every pixel takes the scale that scores it highest: ``g_ic = max_s f_ics``.

    Shapes: ``scores (S, B, H, W, K)`` of any floating dtype → ``(B, H, W, K)``. Caches which scale won; on a
    tie it is the first. Raises :class:`OpError` for other shapes or dtypes.

    >>> y, cache = scale_max(np.array([[1.0, 7.0], [5.0, 2.0]]).reshape(2, 1, 1, 1, 2))
    >>> y.ravel()
    array([5., 7.])
    """
    check_arrays("scale_max", scores=(scores, "S B H W K"))

    winner = scores.argmax(axis=0)  # (B, H, W, K)
    y = np.take_along_axis(scores, winner[None], axis=0)[0]  # (B, H, W, K)
    return y, ScaleMaxCache(winner, scores.shape, scores.dtype)


def scale_max_backward(dy: np.ndarray, cache: ScaleMaxCache) -> np.ndarray:
    """From ``dy (B, H, W, K)``: ``dscores (S, B, H, W, K)``; the scale that won gets the whole gradient.

    >>> y, cache = scale_max(np.array([[1.0, 7.0], [5.0, 2.0]]).reshape(2, 1, 1, 1, 2))
    >>> scale_max_backward(np.array([3.0, 4.0]).reshape(1, 1, 1, 2), cache).reshape(2, 2)
    array([[0., 4.],
           [3., 0.]])
    """
    check_gradient("scale_max_backward", dy, cache.winner.shape, cache.dtype)
    # y = np.take_along_axis(scores, winner[None], axis=0)[0]
    dscores = np.zeros(cache.scores_shape, dy.dtype)  # (S, B, H, W, K)
    np.put_along_axis(dscores, cache.winner[None], dy[None], axis=0)
    return dscores
