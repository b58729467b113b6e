"""Fusion by attention: the softmax over the scales and the weighted sum of scores, in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from backends.contract import Cache
from backends.numba.compile import kernel
from backends.numba.exp import exp_up_to_zero
from reference.ops.checks import check_arrays, check_gradient

#: Pixels of a block.
_PIXELS = 256


class ScaleFusionCache(NamedTuple):
    scores: np.ndarray  # (S, B, H, W, K)
    weights: np.ndarray  # (B, H, W, S)


def scale_fusion(scores: np.ndarray, scale_logits: np.ndarray) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.scale_fusion`."""
    check_arrays("scale_fusion", scores=(scores, "S B H W K"), scale_logits=(scale_logits, "B H W S"))
    weights = np.empty(scale_logits.shape, scores.dtype)
    y = np.empty(scores.shape[1:], scores.dtype)
    _fuse(_by_pixels(scores), _pixels(scale_logits), _pixels(weights), _pixels(y))
    return y, ScaleFusionCache(scores, weights)


def scale_fusion_backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
    """See :func:`reference.ops.scale_fusion_backward`."""
    scores, weights = cache
    check_gradient("scale_fusion_backward", dy, scores.shape[1:], scores.dtype)
    dscores, dscale_logits = np.empty(scores.shape, scores.dtype), np.empty(weights.shape, scores.dtype)
    _differentiate(_pixels(dy), _by_pixels(scores), _pixels(weights), _by_pixels(dscores), _pixels(dscale_logits))
    return dscores, dscale_logits


def _pixels(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


def _by_pixels(scores: np.ndarray) -> np.ndarray:
    return scores.reshape(len(scores), -1, scores.shape[-1])


@kernel
def _fuse(scores, logits, weights, y):
    pixels, scales = logits.shape
    for block in prange(-(-pixels // _PIXELS)):
        for p in range(block * _PIXELS, min(pixels, (block + 1) * _PIXELS)):
            largest = logits[p, 0]
            for s in range(scales):
                if logits[p, s] > largest or logits[p, s] != logits[p, s]:
                    largest = logits[p, s]
            total = logits.dtype.type(0)
            for s in range(scales):
                weights[p, s] = exp_up_to_zero(logits[p, s] - largest)
                total += weights[p, s]
            for s in range(scales):
                weights[p, s] /= total
            out = y[p]
            out[:] = 0
            for s in range(scales):
                weight, score = weights[p, s], scores[s, p]
                for k in range(len(out)):
                    out[k] += weight * score[k]


@kernel
def _differentiate(dy, scores, weights, dscores, dlogits):
    pixels, scales = weights.shape
    for block in prange(-(-pixels // _PIXELS)):
        for p in range(block * _PIXELS, min(pixels, (block + 1) * _PIXELS)):
            mean, given = dy.dtype.type(0), dy[p]
            for s in range(scales):
                # y = Σ weights · scores
                weight, score, dscore = weights[p, s], scores[s, p], dscores[s, p]
                dweight = dy.dtype.type(0)
                for k in range(len(given)):
                    dscore[k] = weight * given[k]
                    dweight += score[k] * given[k]
                dlogits[p, s] = dweight
                mean += weight * dweight
            for s in range(scales):
                # weights = softmax(logits)
                dlogits[p, s] = weights[p, s] * (dlogits[p, s] - mean)
