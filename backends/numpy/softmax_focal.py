"""The focal loss in one pass over blocks of pixels, as the cross-entropy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numpy.softmax_cross_entropy import blocks, exponentiate, fractions_of_classes, shifted_block
from backends.numpy.threads import for_each, sum_over
from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax_cross_entropy import check_labels
from reference.ops.softmax_focal import check_gamma


class SoftmaxFocalCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    labels: np.ndarray  # (…)
    class_weights: np.ndarray  # (K,), divided by the sum of the weights of all pixels
    ignore_label: int
    gamma: float


def softmax_focal(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, class_weights: np.ndarray | None = None,
    gamma: float = 2.0,
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.softmax_focal`.

    >>> logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    >>> loss, cache = softmax_focal(logits, np.array([1, 0, 255]))
    >>> print(loss.round(6))
    0.095633
    """
    op = "softmax_focal"
    check_arrays(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    check_labels(op, labels, logits.shape, ignore_label)
    check_gamma(gamma)
    weights = fractions_of_classes(logits, labels, ignore_label, class_weights)

    def add(pixels: slice) -> tuple[np.ndarray]:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, pixels)
        losses, _ = exponentiate(shifted, target)
        wrong = -np.expm1(-losses)
        return ((weights[target] * labelled * wrong**gamma * losses).sum(dtype=np.float64),)

    (loss,) = sum_over(add, blocks(logits))
    return np.asarray(loss, logits.dtype), SoftmaxFocalCache(logits, labels, weights, ignore_label, gamma)


def softmax_focal_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.softmax_focal_backward`.

    >>> loss, cache = softmax_focal(np.log([[1.0, 3.0]]), np.array([1]), gamma=0.0)
    >>> softmax_focal_backward(1.0, cache)
    array([[ 0.25, -0.25]])
    """
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_focal_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, labels, weights, ignore_label, gamma = cache
    dlogits = np.empty(logits.shape, logits.dtype)

    def differentiate(pixels: slice) -> None:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, pixels)
        losses, total = exponentiate(shifted, target)
        wrong = -np.expm1(-losses)
        ratio = np.divide(losses, wrong, out=np.ones_like(wrong), where=wrong > 0)
        dlosses = logits.dtype.type(dloss) * (weights[target] * labelled)
        dlosses *= wrong**gamma * (1 + gamma * np.exp(-losses) * ratio)
        shifted *= dlosses / total
        shifted[target, np.arange(len(target))] -= dlosses
        dlogits.reshape(-1, logits.shape[-1])[pixels] = shifted.T

    for_each(differentiate, blocks(logits))
    return dlogits
