"""Softmax and cross-entropy in one pass over blocks of pixels.

A block is transposed, so that classes are rows: maxima and sums over a dozen classes are then a dozen operations on
long rows in place of a short loop for each pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numpy.threads import for_each, sum_over
from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax_cross_entropy import check_labels

#: Values in a block.
_VALUES = 1 << 17


class SoftmaxCrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    labels: np.ndarray  # (…)
    class_weights: np.ndarray  # (K,), divided by the sum of the weights of all pixels
    ignore_label: int


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, class_weights: np.ndarray | None = None
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.softmax_cross_entropy`.

    >>> logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    >>> loss, cache = softmax_cross_entropy(logits, np.array([1, 0, 255]))
    >>> print(loss.round(6))
    0.490415
    """
    op = "softmax_cross_entropy"
    check_arrays(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    check_labels(op, labels, logits.shape, ignore_label)
    weights = fractions_of_classes(logits, labels, ignore_label, class_weights)

    def add(pixels: slice) -> tuple[np.ndarray]:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, pixels)
        losses, _ = exponentiate(shifted, target)
        return ((weights[target] * labelled * losses).sum(dtype=np.float64),)

    (loss,) = sum_over(add, blocks(logits))
    return np.asarray(loss, logits.dtype), SoftmaxCrossEntropyCache(logits, labels, weights, ignore_label)


def softmax_cross_entropy_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.softmax_cross_entropy_backward`.

    >>> loss, cache = softmax_cross_entropy(np.log([[1.0, 3.0]]), np.array([1]))
    >>> softmax_cross_entropy_backward(1.0, cache)
    array([[ 0.25, -0.25]])
    """
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_cross_entropy_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, labels, class_weights, ignore_label = cache
    dlogits = np.empty(logits.shape, logits.dtype)

    def differentiate(pixels: slice) -> None:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, pixels)
        dpixel = logits.dtype.type(dloss) * (class_weights[target] * labelled)
        dshifted = np.exp(shifted, out=shifted)
        dshifted *= dpixel / dshifted.sum(axis=0)
        dshifted[target, np.arange(len(target))] -= dpixel
        dlogits.reshape(-1, logits.shape[-1])[pixels] = dshifted.T

    for_each(differentiate, blocks(logits))
    return dlogits


def fractions_of_classes(
    logits: np.ndarray, labels: np.ndarray, ignore_label: int, class_weights: np.ndarray | None
) -> np.ndarray:
    """The weight of a pixel of each class ``(K,)``, divided by the sum over all pixels."""
    classes = logits.shape[-1]
    weights = np.ones(classes, logits.dtype) if class_weights is None else class_weights
    counts = np.bincount(labels[labels != ignore_label], minlength=classes)
    fractions: np.ndarray = weights / ((counts @ weights) or 1)
    return fractions


def exponentiate(shifted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace ``shifted (K, pixels)`` by its exponentials; return −log p of the targets, and the sums."""
    z_target = np.take_along_axis(shifted, target[None], axis=0)[0]
    total = np.exp(shifted, out=shifted).sum(axis=0)
    return np.log(total) - z_target, total


def shifted_block(
    logits: np.ndarray, labels: np.ndarray, ignore_label: int, pixels: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits minus each pixel's maximum ``(K, pixels)``; targets, 0 where ignored, and whether labelled."""
    shifted = np.array(logits.reshape(-1, logits.shape[-1])[pixels].T, order="C")
    shifted -= shifted.max(axis=0)
    labels = labels.reshape(-1)[pixels]
    labelled = labels != ignore_label
    return shifted, np.where(labelled, labels, 0), labelled


def blocks(logits: np.ndarray) -> list[slice]:
    """The pixels of each block."""
    classes = logits.shape[-1]
    pixels, step = logits.size // classes, max(1, _VALUES // classes)
    return [slice(first, first + step) for first in range(0, pixels, step)]
