"""Softmax and cross-entropy in one pass over blocks of pixels, transposed: the pixels of a class are contiguous."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba.compile import inner, kernel, scratch
from backends.numba.exp import exp_up_to_zero
from backends.numba.log import log_from_one
from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax_cross_entropy import check_label_shape, check_labels

#: Pixels of a block.
PIXELS = 256


class SoftmaxCrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    targets: np.ndarray  # (pixels,), int64, the dtype for which kernels are compiled
    class_weights: np.ndarray  # (K,), divided by the sum of the weights of all pixels
    ignore_label: int
    largest: np.ndarray  # (pixels,), the largest logit
    total: np.ndarray  # (pixels,), the sum of exp(logits − largest)


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, class_weights: np.ndarray | None = None
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.softmax_cross_entropy`."""
    op = "softmax_cross_entropy"
    check_arrays(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    classes = logits.shape[-1]
    pixels, targets = logits.reshape(-1, classes), targets_of(op, labels, logits.shape, ignore_label)
    weights = fractions_of_classes(targets, ignore_label, class_weights, classes)
    losses = np.empty(-(-len(targets) // PIXELS))
    largest, total = np.empty(len(targets), logits.dtype), np.empty(len(targets), logits.dtype)
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _add_losses(len(losses), pixels, targets, ignore_label, weights, memory, largest, total, losses)
    cache = SoftmaxCrossEntropyCache(logits, targets, weights, ignore_label, largest, total)
    return np.asarray(losses.sum(), logits.dtype), cache


def softmax_cross_entropy_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.softmax_cross_entropy_backward`."""
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_cross_entropy_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, targets, weights, ignore_label, largest, total = cache
    classes = logits.shape[-1]
    dlogits = np.empty(logits.shape, logits.dtype)
    dweights = logits.dtype.type(dloss) * weights
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _differentiate(
        -(-len(targets) // PIXELS), logits.reshape(-1, classes), targets, ignore_label, dweights, largest, total,
        memory, dlogits.reshape(-1, classes),
    )  # fmt: skip
    return dlogits


def targets_of(op: str, labels: np.ndarray, logits_shape: tuple[int, ...], ignore_label: int) -> np.ndarray:
    """The labels of all pixels ``(pixels,)``, int64, once they are checked as by :func:`check_labels`."""
    check_label_shape(op, labels, logits_shape[:-1])
    targets = labels.reshape(-1).astype(np.int64)
    wrong = np.empty(-(-len(targets) // PIXELS), np.int64)
    _count_wrong(len(wrong), targets, ignore_label, logits_shape[-1], wrong)
    if wrong.any():
        check_labels(op, labels, logits_shape, ignore_label)
    return targets


def fractions_of_classes(
    targets: np.ndarray, ignore_label: int, class_weights: np.ndarray | None, classes: int
) -> np.ndarray:
    """The weight of a pixel of each class ``(K,)``, float64, divided by the sum over all pixels."""
    if class_weights is None:
        counts = np.empty(-(-len(targets) // PIXELS))
        _count_labelled(len(counts), targets, ignore_label, counts)
        return np.full(classes, 1 / (counts.sum() or 1.0))
    total = np.float64(class_counts(targets, ignore_label, classes) @ class_weights)
    fractions: np.ndarray = class_weights / (total or np.float64(1))
    return fractions


def class_counts(targets: np.ndarray, ignore_label: int, classes: int) -> np.ndarray:
    """How many of the labels ``(pixels,)`` each class has, ``(K,)``."""
    counts = np.empty((-(-len(targets) // PIXELS), classes), np.int32)
    _count(len(counts), targets, ignore_label, counts)
    total: np.ndarray = counts.sum(axis=0)
    return total


@kernel
def _count_wrong(block, labels, ignore_label, classes, wrong):
    number = 0
    for label in labels[block * PIXELS : (block + 1) * PIXELS]:
        number += label != ignore_label and not 0 <= label < classes
    wrong[block] = number


@kernel
def _count_labelled(block, labels, ignore_label, counts):
    number = 0
    for label in labels[block * PIXELS : (block + 1) * PIXELS]:
        number += label != ignore_label
    counts[block] = number


@kernel
def _count(block, labels, ignore_label, counts):
    counts[block] = 0
    for label in labels[block * PIXELS : (block + 1) * PIXELS]:
        if label != ignore_label:
            counts[block, label] += 1


@kernel
def _add_losses(block, logits, labels, ignore_label, weights, memory, all_largest, all_total, losses):
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    largest, total = exponentiate(part, memory[get_thread_id()])
    out_largest, out_total = all_largest[first : first + PIXELS], all_total[first : first + PIXELS]
    for p in range(len(targets)):
        out_largest[p], out_total[p] = largest[p], total[p]
    for p in range(len(targets)):
        total[p] = log_from_one(total[p])
    loss = 0.0
    for p in range(len(targets)):
        if targets[p] != ignore_label:
            lost = total[p] - (part[p, targets[p]] - largest[p])
            loss += weights[targets[p]] * lost
    losses[block] = loss


@kernel
def _differentiate(block, logits, labels, ignore_label, dweights, all_largest, all_total, memory, dlogits):
    classes = logits.shape[1]
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    largest, total = all_largest[first : first + PIXELS], all_total[first : first + PIXELS]
    buffer = memory[get_thread_id()]
    dpixel = buffer[classes * PIXELS : (classes + 1) * PIXELS]
    factor = buffer[(classes + 1) * PIXELS :]
    for p in range(len(targets)):
        dpixel[p] = dweights[targets[p]] if targets[p] != ignore_label else 0
        factor[p] = dpixel[p] / total[p]
    for k in range(classes):
        for p in range(len(targets)):
            buffer[k * PIXELS + p] = part[p, k]
    for k in range(classes):
        for p in range(len(targets)):
            buffer[k * PIXELS + p] = exp_up_to_zero(buffer[k * PIXELS + p] - largest[p]) * factor[p]
    out = dlogits[first : first + PIXELS]
    for p in range(len(targets)):
        for k in range(classes):
            out[p, k] = buffer[k * PIXELS + p]
        if targets[p] != ignore_label:
            out[p, targets[p]] -= dpixel[p]


@inner
def exponentiate(logits, memory):
    """Write ``exp(logits − maximum)``, transposed, to ``memory (K, PIXELS)``; return the maxima and the sums."""
    pixels, classes = logits.shape
    for k in range(classes):
        for p in range(pixels):
            memory[k * PIXELS + p] = logits[p, k]
    largest = memory[classes * PIXELS : classes * PIXELS + pixels]
    total = memory[(classes + 1) * PIXELS : (classes + 1) * PIXELS + pixels]
    for p in range(pixels):
        largest[p] = memory[p]
    for k in range(1, classes):
        for p in range(pixels):
            value = memory[k * PIXELS + p]
            largest[p] = value if value > largest[p] else largest[p]  # NaN comes back from exp
    total[:] = 0
    for k in range(classes):
        for p in range(pixels):
            value = exp_up_to_zero(memory[k * PIXELS + p] - largest[p])
            memory[k * PIXELS + p] = value
            total[p] += value
    return largest, total
