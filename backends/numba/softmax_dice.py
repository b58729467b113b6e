"""The Dice loss in one pass over blocks of pixels, as the cross-entropy, and one more for its derivative."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba.compile import kernel, scratch
from backends.numba.softmax_cross_entropy import PIXELS, exponentiate, targets_of
from backends.numpy.softmax_dice import dice_of
from reference.ops.checks import OpError, check_arrays

#: Blocks of pixels whose sums are added up before they are stored.
_BLOCKS = 16


class SoftmaxDiceCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    targets: np.ndarray  # (pixels,), int64
    dice: np.ndarray  # (K,)
    scale: np.ndarray  # (K,), 2 / (number of classes that occur · denominator), 0 for those that do not
    ignore_label: int


def softmax_dice(logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.softmax_dice`."""
    op = "softmax_dice"
    check_arrays(op, logits=(logits, "... K"))
    classes = logits.shape[-1]
    pixels, targets = logits.reshape(-1, classes), targets_of(op, labels, logits.shape, ignore_label)
    sums = np.empty((-(-len(targets) // (_BLOCKS * PIXELS)), 3, classes))
    _add(len(sums), pixels, targets, ignore_label, scratch((classes + 2) * PIXELS, logits.dtype), sums)
    overlap, count, squares = sums.sum(axis=0)
    loss, dice, scale = dice_of(overlap, count, squares, logits.dtype)
    return loss, SoftmaxDiceCache(logits, targets, dice, scale, ignore_label)


def softmax_dice_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.softmax_dice_backward`."""
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_dice_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, targets, dice, scale, ignore_label = cache
    classes = logits.shape[-1]
    scale = logits.dtype.type(dloss) * scale
    dlogits = np.empty(logits.shape, logits.dtype)
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _differentiate(
        -(-len(targets) // PIXELS), logits.reshape(-1, classes), targets, ignore_label, scale * dice, scale, memory,
        dlogits.reshape(-1, classes),
    )  # fmt: skip
    return dlogits


@kernel
def _add(chunk, logits, labels, ignore_label, memory, sums):
    """Σ p g, Σ g and Σ p² of each class over the labelled pixels of some blocks."""
    classes = logits.shape[1]
    overlap, count, squares = sums[chunk]
    overlap[:] = 0
    count[:] = 0
    squares[:] = 0
    begin = chunk * _BLOCKS * PIXELS
    for first in range(begin, min(len(logits), begin + _BLOCKS * PIXELS), PIXELS):
        part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
        buffer = memory[get_thread_id()]
        _, total = exponentiate(part, buffer)
        for p in range(len(targets)):
            total[p] = 1 / total[p] if targets[p] != ignore_label else 0
        for k in range(classes):
            square = logits.dtype.type(0)
            for p in range(len(targets)):
                value = buffer[k * PIXELS + p] * total[p]
                buffer[k * PIXELS + p] = value
                square += value * value
            squares[k] += square
        for p in range(len(targets)):
            if targets[p] != ignore_label:
                overlap[targets[p]] += buffer[targets[p] * PIXELS + p]
                count[targets[p]] += 1


@kernel
def _differentiate(block, logits, labels, ignore_label, factors, scale, memory, dlogits):
    classes = logits.shape[1]
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    buffer = memory[get_thread_id()]
    dot, total = exponentiate(part, buffer)
    for p in range(len(targets)):
        dot[p] = 0
        total[p] = 1 / total[p] if targets[p] != ignore_label else 0
    for k in range(classes):
        factor = factors[k]
        for p in range(len(targets)):
            value = buffer[k * PIXELS + p] * total[p]
            buffer[k * PIXELS + p] = value
            dot[p] += value * factor * value
    for p in range(len(targets)):
        if targets[p] != ignore_label:
            dot[p] -= scale[targets[p]] * buffer[targets[p] * PIXELS + p]
    for p in range(len(targets)):
        for k in range(classes):
            value = buffer[k * PIXELS + p]
            dlogits[first + p, k] = value * (factors[k] * value - dot[p])
        if targets[p] != ignore_label:
            target = targets[p]
            dlogits[first + p, target] -= scale[target] * buffer[target * PIXELS + p]
