"""The Lovász-softmax loss: a radix sort for each class, the classes on several threads; the slopes in one map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba.compile import inner, kernel, scratch
from backends.numba.softmax_cross_entropy import PIXELS, class_counts, exponentiate, targets_of
from reference.ops.checks import OpError, check_arrays

#: Bits of a key that one pass of the sort looks at.
_BITS = 11


class LovaszSoftmaxCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    dprobability: np.ndarray  # (K, pixels), the derivative of the loss by the probabilities


def lovasz_softmax(logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.lovasz_softmax`."""
    op = "lovasz_softmax"
    check_arrays(op, logits=(logits, "... K"))
    classes, bits = logits.shape[-1], 8 * logits.dtype.itemsize
    pixels, targets = logits.reshape(-1, classes), targets_of(op, labels, logits.shape, ignore_label)
    counts = class_counts(targets, ignore_label, classes)
    errors = np.empty((classes, len(targets)), logits.dtype)
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _measure(-(-len(targets) // PIXELS), pixels, targets, ignore_label, counts, memory, errors)
    losses = np.empty(classes)
    keys = scratch(2 * len(targets), f"uint{bits}")
    order = scratch(2 * len(targets), np.int32)
    _sort_classes(
        classes, errors, errors.view(keys.dtype), targets, ignore_label, counts, keys, order, bits, losses
    )
    return np.asarray(losses.sum(), logits.dtype), LovaszSoftmaxCache(logits, errors)


def lovasz_softmax_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.lovasz_softmax_backward`."""
    if np.ndim(dloss) != 0:
        raise OpError(f"lovasz_softmax_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, dprobability = cache
    classes = logits.shape[-1]
    dlogits = np.empty(logits.shape, logits.dtype)
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _differentiate(
        -(-dprobability.shape[1] // PIXELS), logits.reshape(-1, classes), dprobability, logits.dtype.type(dloss),
        memory, dlogits.reshape(-1, classes),
    )  # fmt: skip
    return dlogits


@kernel
def _measure(block, logits, labels, ignore_label, counts, memory, errors):
    """The errors of each class that occurs; 0 for the others, and where pixels are ignored."""
    classes = logits.shape[1]
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    buffer = memory[get_thread_id()]
    _, total = exponentiate(part, buffer)
    for p in range(len(targets)):
        total[p] = 1 / total[p] if targets[p] != ignore_label else 0
    for k in range(classes):
        for p in range(len(targets)):
            errors[k, first + p] = buffer[k * PIXELS + p] * total[p] if counts[k] else 0
    for p in range(len(targets)):
        if targets[p] != ignore_label:
            wrong = 1 - errors[targets[p], first + p]
            errors[targets[p], first + p] = 0 if wrong < 0 else wrong  # by rounding; NaN stays


@kernel
def _sort_classes(c, errors, bits_of_errors, labels, ignore_label, counts, keys, order, bits, losses):
    """Replace the errors by their derivatives, the slopes of the Jaccard loss; write the loss of each class."""
    occurring = np.sum(counts > 0)
    losses[c] = 0
    if counts[c] == 0:
        return
    own_keys, own_order = keys[get_thread_id()], order[get_thread_id()]
    n = 0
    for pixel in range(len(labels)):
        if labels[pixel] != ignore_label:
            own_keys[n] = ~bits_of_errors[c, pixel]  # the largest first: not negative, floats sort as integers
            own_order[n] = pixel
            n += 1
    ranked = _sort(own_keys[:n], own_order[:n], own_keys[n : 2 * n], own_order[n : 2 * n], bits)
    gone = 0
    loss = 0.0
    for i in range(n):
        pixel = ranked[i]
        is_class = labels[pixel] == c
        gone += is_class
        union = counts[c] + i + 1 - gone
        slope = 1 / union if is_class else (counts[c] - gone) / (union * max(union - 1.0, 1.0))
        loss += slope * errors[c, pixel]
        errors[c, pixel] = (-slope if is_class else slope) / occurring
    losses[c] = loss / occurring


@inner
def _sort(keys, order, other_keys, other_order, bits):
    """Sort ``order`` by ``keys``, the lowest bits first; equal keys keep their order."""
    places = np.empty(1 << _BITS, np.int64)
    mask = np.uint64((1 << _BITS) - 1)
    for shift in range(0, bits, _BITS):
        places[:] = 0
        for i in range(len(keys)):
            places[np.int64((np.uint64(keys[i]) >> np.uint64(shift)) & mask)] += 1
        before = 0
        for n in range(len(places)):
            here = places[n]
            places[n] = before
            before += here
        for i in range(len(keys)):
            bucket = np.int64((np.uint64(keys[i]) >> np.uint64(shift)) & mask)
            at = places[bucket]
            places[bucket] += 1
            other_keys[at] = keys[i]
            other_order[at] = order[i]
        keys, other_keys = other_keys, keys
        order, other_order = other_order, order
    return order


@kernel
def _differentiate(block, logits, dprobability, dloss, memory, dlogits):
    classes = logits.shape[1]
    first = block * PIXELS
    part = logits[first : first + PIXELS]
    buffer = memory[get_thread_id()]
    dot, total = exponentiate(part, buffer)
    for p in range(len(part)):
        dot[p] = 0
        total[p] = 1 / total[p]
    for k in range(classes):
        for p in range(len(part)):
            value = buffer[k * PIXELS + p] * total[p]
            buffer[k * PIXELS + p] = value
            dot[p] += value * dprobability[k, first + p]
    for p in range(len(part)):
        for k in range(classes):
            dlogits[first + p, k] = dloss * buffer[k * PIXELS + p] * (dprobability[k, first + p] - dot[p])
