"""Fusion by attention: the softmax over the scales and the weighted sum of scores, in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba.compile import kernel, scratch
from backends.numba.softmax_cross_entropy import PIXELS, exponentiate
from reference.ops.checks import check_arrays, check_gradient


class ScaleFusionCache(NamedTuple):
    scores: np.ndarray  # (S, B, H, W, K)
    weights: np.ndarray  # (B, H, W, S)


def scale_fusion(scores: np.ndarray, scale_logits: np.ndarray) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.scale_fusion`."""
    check_arrays("scale_fusion", scores=(scores, "S B H W K"), scale_logits=(scale_logits, "B H W S"))
    weights = np.empty(scale_logits.shape, scores.dtype)
    y = np.empty(scores.shape[1:], scores.dtype)
    memory = scratch((len(scores) + 2) * PIXELS, scores.dtype)
    _fuse(_blocks(weights), _by_pixels(scores), _pixels(scale_logits), memory, _pixels(weights), _pixels(y))
    return y, ScaleFusionCache(scores, weights)


def scale_fusion_backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
    """See :func:`reference.ops.scale_fusion_backward`."""
    scores, weights = cache
    check_gradient("scale_fusion_backward", dy, scores.shape[1:], scores.dtype)
    dscores, dscale_logits = np.empty(scores.shape, scores.dtype), np.empty(weights.shape, scores.dtype)
    _differentiate(
        _blocks(weights), _pixels(dy), _by_pixels(scores), _pixels(weights), _by_pixels(dscores),
        _pixels(dscale_logits),
    )  # fmt: skip
    return dscores, dscale_logits


def _blocks(x: np.ndarray) -> int:
    return -(-len(_pixels(x)) // PIXELS)


def _pixels(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


def _by_pixels(scores: np.ndarray) -> np.ndarray:
    return scores.reshape(len(scores), -1, scores.shape[-1])


@kernel
def _fuse(block, scores, logits, memory, weights, y):
    pixels, scales = logits.shape
    first, last = block * PIXELS, min(pixels, (block + 1) * PIXELS)
    buffer = memory[get_thread_id()]
    _, total = exponentiate(logits[first:last], buffer)
    for s in range(scales):
        for p in range(last - first):
            weights[first + p, s] = buffer[s * PIXELS + p] / total[p]
    for p in range(first, last):
        out, weight, score = y[p], weights[p, 0], scores[0, p]
        for k in range(len(out)):
            out[k] = weight * score[k]
        for s in range(1, scales):
            weight, score = weights[p, s], scores[s, p]
            for k in range(len(out)):
                out[k] += weight * score[k]


@kernel
def _differentiate(block, dy, scores, weights, dscores, dlogits):
    pixels, scales = weights.shape
    for p in range(block * PIXELS, min(pixels, (block + 1) * PIXELS)):
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
