"""Fusion by attention (Chen et al., Attention to Scale: Scale-Aware Semantic Image Segmentation, CVPR 2016)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient
from reference.ops.softmax import SoftmaxCache, softmax, softmax_backward


class ScaleFusionCache(NamedTuple):
    scores: np.ndarray  # (S, B, H, W, K)
    softmax: SoftmaxCache  # holds the weights, (B, H, W, S)


def scale_fusion(scores: np.ndarray, scale_logits: np.ndarray) -> tuple[np.ndarray, ScaleFusionCache]:
    """The weighted sum of the score maps of all scales; the weights of a pixel are a softmax over the scales. ::

        g_ic = Σ_s w_is f_ics                     (1)
        w_is = exp(h_is) / Σ_t exp(h_it)          (2)

    for pixel i, class c and scale s: f are the ``scores``, before any softmax over classes, and h the
    ``scale_logits`` that a small network predicts. All classes of a pixel share its weights. Equal logits give the
    mean over scales.

    Shapes: ``scores (S, B, H, W, K)``, all scales on one grid, and ``scale_logits (B, H, W, S)``
    → ``(B, H, W, K)``, of one floating dtype. Caches the scores and the weights. Raises :class:`OpError` for
    shapes or dtypes that do not fit.

    >>> scores = np.array([1.0, 5.0]).reshape(2, 1, 1, 1, 1)
    >>> y, cache = scale_fusion(scores, np.log([3.0, 1.0]).reshape(1, 1, 1, 2))  # weights 3/4 and 1/4
    >>> y.item()
    2.0
    """
    check_arrays("scale_fusion", scores=(scores, "S B H W K"), scale_logits=(scale_logits, "B H W S"))

    weights, softmax_cache = softmax(scale_logits)  # (B, H, W, S)
    y = (_scales_first(weights) * scores).sum(axis=0)  # (B, H, W, K)
    return y, ScaleFusionCache(scores, softmax_cache)


def scale_fusion_backward(dy: np.ndarray, cache: ScaleFusionCache) -> tuple[np.ndarray, np.ndarray]:
    """From ``dy (B, H, W, K)``: ``dscores (S, B, H, W, K)`` and ``dscale_logits (B, H, W, S)``.

    With G = dy = ∂L/∂g, the two steps for the logits give ::

        ∂L/∂h_is = w_is Σ_c G_ic (f_ics − g_ic)

    so a scale gains weight where its scores would give a lower loss than the fused ones. Over the scales this sums
    to 0.

    >>> scores = np.array([1.0, 5.0]).reshape(2, 1, 1, 1, 1)
    >>> y, cache = scale_fusion(scores, np.log([3.0, 1.0]).reshape(1, 1, 1, 2))
    >>> dscores, dscale_logits = scale_fusion_backward(np.ones((1, 1, 1, 1)), cache)
    >>> dscores.ravel(), dscale_logits.ravel()
    (array([0.75, 0.25]), array([-0.75,  0.75]))
    """
    scores, softmax_cache = cache
    check_gradient("scale_fusion_backward", dy, scores.shape[1:], scores.dtype)
    weights = softmax_cache.y  # (B, H, W, S)

    # y = (_scales_first(weights) * scores).sum(axis=0)
    dscores = _scales_first(weights) * dy  # (S, B, H, W, K)
    dweights = np.moveaxis((scores * dy).sum(axis=-1), 0, -1)  # (B, H, W, S)
    # weights, softmax_cache = softmax(scale_logits)
    dscale_logits = softmax_backward(dweights, softmax_cache)  # (B, H, W, S)
    return dscores, dscale_logits


def _scales_first(weights: np.ndarray) -> np.ndarray:
    return np.moveaxis(weights, -1, 0)[..., None]  # (S, B, H, W, 1)
