"""The three fusions of score maps over the scales: by attention, by maximum, by mean."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.launch import c_type, launch
from backends.precision import vector_dtype
from reference.ops.checks import OpError

_MOST_SCALES = 32  # a lane of a warp each


class ScaleFusionCache(NamedTuple):
    scores: cupy.ndarray  # (S, B, H, W, K)
    weights: cupy.ndarray  # (B, H, W, S), at least float32


def scale_fusion(scores: cupy.ndarray, scale_logits: cupy.ndarray) -> tuple[cupy.ndarray, ScaleFusionCache]:
    """The sum of the score maps of all scales, weighted by a softmax over the scales."""
    scores, scale_logits = checked(
        "scale_fusion", scores=(scores, "S B H W K"), scale_logits=(scale_logits, "B H W S")
    )
    scales, *_, classes = scores.shape
    if scales > _MOST_SCALES:
        raise OpError(f"scale_fusion: scores have {scales} scales, want at most {_MOST_SCALES} on this backend.")
    y = cupy.empty(scores.shape[1:], scores.dtype)
    weights = cupy.empty(scale_logits.shape, vector_dtype(scores.dtype))
    pixels = y.size // classes
    launch(
        "scale_fusion.cu", f"scale_fusion<{c_type(scores)}>", (-(-pixels // 8),), (32, 8),
        scores, scale_logits, y, weights, pixels, classes, scales,
    )
    return y, ScaleFusionCache(scores, weights)


def scale_fusion_backward(dy: cupy.ndarray, cache: ScaleFusionCache) -> tuple[cupy.ndarray, cupy.ndarray]:
    """From ``dy (B, H, W, K)``: ``dscores (S, B, H, W, K)`` and ``dscale_logits (B, H, W, S)``."""
    scores, weights = cache
    dy = checked_gradient("scale_fusion_backward", dy, scores.shape[1:], scores.dtype)
    scales, *_, classes = scores.shape
    dscores, dscale_logits = cupy.empty(scores.shape, scores.dtype), cupy.empty(weights.shape, scores.dtype)
    pixels = dy.size // classes
    launch(
        "scale_fusion.cu", f"scale_fusion_backward<{c_type(dy)}>", (-(-pixels // 8),), (32, 8),
        scores, weights, dy, dscores, dscale_logits, pixels, classes, scales,
    )
    return dscores, dscale_logits


class ScaleMaxCache(NamedTuple):
    winner: cupy.ndarray  # (B, H, W, K), the scale that won
    scales: int
    dtype: np.dtype


def scale_max(scores: cupy.ndarray) -> tuple[cupy.ndarray, ScaleMaxCache]:
    """Every class of every pixel takes the scale that scores it highest."""
    (scores,) = checked("scale_max", scores=(scores, "S B H W K"))
    return scores.max(axis=0), ScaleMaxCache(scores.argmax(axis=0), len(scores), scores.dtype)


def scale_max_backward(dy: cupy.ndarray, cache: ScaleMaxCache) -> cupy.ndarray:
    """From ``dy (B, H, W, K)``: ``dscores (S, B, H, W, K)``; the scale that won gets the whole gradient."""
    dy = checked_gradient("scale_max_backward", dy, cache.winner.shape, cache.dtype)
    scales = cupy.arange(cache.scales).reshape(-1, 1, 1, 1, 1)
    return cupy.where(cache.winner == scales, dy, 0).astype(dy.dtype, copy=False)  # (S, B, H, W, K)


class ScaleMeanCache(NamedTuple):
    scores_shape: tuple[int, ...]
    dtype: np.dtype


def scale_mean(scores: cupy.ndarray) -> tuple[cupy.ndarray, ScaleMeanCache]:
    """Every scale has the same weight at every pixel."""
    (scores,) = checked("scale_mean", scores=(scores, "S B H W K"))
    mean = scores.mean(axis=0, dtype=vector_dtype(scores.dtype)).astype(scores.dtype, copy=False)
    return mean, ScaleMeanCache(scores.shape, scores.dtype)


def scale_mean_backward(dy: cupy.ndarray, cache: ScaleMeanCache) -> cupy.ndarray:
    """From ``dy (B, H, W, K)``: ``dscores (S, B, H, W, K)``, spread equally over the scales."""
    scales, *y_shape = cache.scores_shape
    dy = checked_gradient("scale_mean_backward", dy, tuple(y_shape), cache.dtype)
    return cupy.ascontiguousarray(cupy.broadcast_to(dy / scales, cache.scores_shape))
