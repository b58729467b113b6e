"""The Dice loss in one pass over blocks of pixels, as the cross-entropy, and one more for its derivative."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numpy.softmax_cross_entropy import blocks, shifted_block
from backends.numpy.threads import for_each, sum_over
from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax_cross_entropy import check_labels


class SoftmaxDiceCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    labels: np.ndarray  # (…)
    dice: np.ndarray  # (K,)
    scale: np.ndarray  # (K,), 2 / (number of classes that occur · denominator), 0 for those that do not
    ignore_label: int


def softmax_dice(logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.softmax_dice`.

    >>> logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    >>> loss, cache = softmax_dice(logits, np.array([1, 0, 255]))
    >>> print(loss.round(6))
    0.205255
    """
    op = "softmax_dice"
    check_arrays(op, logits=(logits, "... K"))
    check_labels(op, labels, logits.shape, ignore_label)
    classes = logits.shape[-1]

    def add(block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, block)
        probability = np.exp(shifted, out=shifted)
        probability *= labelled / probability.sum(axis=0)
        p_target = probability[target, np.arange(len(target))]
        return (
            np.bincount(target, p_target, minlength=classes),
            np.bincount(target, labelled, minlength=classes),
            np.einsum("kp,kp->k", probability, probability, dtype=np.float64),
        )

    overlap, pixels, squares = sum_over(add, blocks(logits))
    loss, dice, scale = dice_of(overlap, pixels, squares, logits.dtype)
    return loss, SoftmaxDiceCache(logits, labels, dice, scale, ignore_label)


def softmax_dice_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.softmax_dice_backward`.

    >>> loss, cache = softmax_dice(np.log([[1.0, 3.0]]), np.array([1]))
    >>> softmax_dice_backward(1.0, cache).round(4)
    array([[ 0.0672, -0.0672]])
    """
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_dice_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, labels, dice, scale, ignore_label = cache
    scale = logits.dtype.type(dloss) * scale
    factor = (scale * dice)[:, None]
    dlogits = np.empty(logits.shape, logits.dtype)

    def differentiate(pixels: slice) -> None:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, pixels)
        probability = np.exp(shifted, out=shifted)
        probability *= labelled / probability.sum(axis=0)
        dprobability = factor * probability
        dprobability[target, np.arange(len(target))] -= scale[target]
        dprobability -= np.einsum("kp,kp->p", probability, dprobability)
        dprobability *= probability
        dlogits.reshape(-1, logits.shape[-1])[pixels] = dprobability.T

    for_each(differentiate, blocks(logits))
    return dlogits


def dice_of(
    overlap: np.ndarray, pixels: np.ndarray, squares: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss, and the Dice coefficient and the scale of each class, from three sums ``(K,)`` over the pixels."""
    occurs = pixels > 0
    classes = max(1, int(occurs.sum()))
    denominator = np.where(occurs, pixels + squares, 1)
    dice = np.where(occurs, 2 * overlap / denominator, 0)
    loss = (occurs - dice).sum() / classes
    scale = np.where(occurs, 2 / (classes * denominator), 0)
    return np.asarray(loss, dtype), dice.astype(dtype), scale.astype(dtype)
