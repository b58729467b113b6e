"""The Dice loss: one minus the overlap of predicted and true regions, averaged over the classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax import SoftmaxCache, softmax, softmax_backward
from reference.ops.softmax_cross_entropy import check_labels
from reference.ops.sums import channel_sum


class SoftmaxDiceCache(NamedTuple):
    softmax: SoftmaxCache
    truth: np.ndarray  # (…, K), one-hot, 0 where ignored
    labelled: np.ndarray  # (…)
    dice: np.ndarray  # (K,)
    scale: np.ndarray  # (K,), 2 / (number of classes that occur · denominator), 0 for those that do not


def softmax_dice(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255
) -> tuple[np.ndarray, SoftmaxDiceCache]:
    """The soft Dice loss (Milletari, Navab and Ahmadi, *V-Net*, 3DV 2016, section 3), for several classes. ::

        L = 1 − 1/|C| Σ_{c ∈ C} D_c,        D_c = 2 Σ_i p_ic g_ic / (Σ_i p_ic² + Σ_i g_ic²)

    with the probabilities p and the one-hot truth g of each pixel i. The sums run over the labelled pixels of the
    whole batch, and the squares are those of the paper. C is the set of classes that occur among these pixels, so
    no denominator is 0 and there is no smoothing; a class that does not occur has no region that could overlap. If
    every pixel of a batch is ignored, the loss and its gradient are 0.

    Each class has the same weight, however few its pixels are.

    Shapes: ``logits (…, K)`` of a floating dtype, ``labels (…)`` of any integer dtype → a 0-d array, between 0 and
    1. Raises :class:`OpError` for shapes or dtypes that do not fit, and for a label that is neither a class nor
    ignored.

    >>> logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    >>> loss, cache = softmax_dice(logits, np.array([1, 0, 255]))
    >>> first = 2 * (1 / 2) / ((1 / 4) ** 2 + (1 / 2) ** 2 + 1)
    >>> second = 2 * (3 / 4) / ((3 / 4) ** 2 + (1 / 2) ** 2 + 1)
    >>> print(loss.round(6), round(1 - (first + second) / 2, 6))
    0.205255 0.205255
    """
    op = "softmax_dice"
    check_arrays(op, logits=(logits, "... K"))
    check_labels(op, labels, logits.shape, ignore_label)

    labelled = labels != ignore_label  # (…)
    truth = labelled[..., None] & (labels[..., None] == np.arange(logits.shape[-1]))  # (…, K)
    probability, cache = softmax(logits)  # (…, K)
    counted = probability * labelled[..., None]  # (…, K)
    pixels = channel_sum(truth.astype(logits.dtype))  # (K,), Σ g²
    occurs = pixels > 0  # (K,)
    denominator = channel_sum(counted**2) + pixels  # (K,)
    overlap = channel_sum(counted * truth)  # (K,)
    dice = 2 * overlap / np.where(occurs, denominator, 1)  # (K,), 0 for classes that do not occur
    classes = max(1, int(occurs.sum()))
    loss = (occurs - dice).sum() / classes  # ()
    scale = np.where(occurs, 2 / (classes * np.where(occurs, denominator, 1)), 0)  # (K,)
    return np.asarray(loss, logits.dtype), SoftmaxDiceCache(
        cache, truth, labelled, dice, scale.astype(logits.dtype)
    )


def softmax_dice_backward(dloss: np.ndarray | float, cache: SoftmaxDiceCache) -> np.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``.

    With the denominator S_c of D_c, the derivative of the loss by p_ic is ``2/(|C| S_c) · (D_c p_ic − g_ic)``.

    >>> loss, cache = softmax_dice(np.log([[1.0, 3.0]]), np.array([1]))
    >>> softmax_dice_backward(1.0, cache).round(4)
    array([[ 0.0672, -0.0672]])
    """
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_dice_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    probability = cache.softmax.y  # (…, K)

    # loss = (occurs - dice).sum() / classes
    # dice = 2 * overlap / np.where(occurs, denominator, 1)
    # overlap = channel_sum(counted * truth)
    # denominator = channel_sum(counted**2) + pixels
    dprobability = cache.scale * (cache.dice * probability - cache.truth)  # (…, K)
    # counted = probability * labelled[..., None]
    dprobability = probability.dtype.type(dloss) * dprobability * cache.labelled[..., None]  # (…, K)
    # probability, cache = softmax(logits)
    return softmax_backward(dprobability.astype(probability.dtype, copy=False), cache.softmax)  # (…, K)
