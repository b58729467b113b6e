"""The focal loss in one pass over blocks of pixels, as the cross-entropy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba.compile import inlined, kernel, scratch
from backends.numba.softmax_cross_entropy import PIXELS, exponentiate, fractions_of_classes, targets_of
from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax_focal import check_gamma


class SoftmaxFocalCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    targets: np.ndarray  # (pixels,), int64
    class_weights: np.ndarray  # (K,), divided by the sum of the weights of all pixels
    ignore_label: int
    gamma: float


def softmax_focal(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, class_weights: np.ndarray | None = None,
    gamma: float = 2.0,
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.softmax_focal`."""
    op = "softmax_focal"
    check_arrays(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    check_gamma(gamma)
    classes = logits.shape[-1]
    pixels, targets = logits.reshape(-1, classes), targets_of(op, labels, logits.shape, ignore_label)
    weights = fractions_of_classes(targets, ignore_label, class_weights, classes)
    losses = np.empty(-(-len(targets) // PIXELS))
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _add_losses(len(losses), pixels, targets, ignore_label, weights, float(gamma), memory, losses)
    cache = SoftmaxFocalCache(logits, targets, weights, ignore_label, float(gamma))
    return np.asarray(losses.sum(), logits.dtype), cache


def softmax_focal_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.softmax_focal_backward`."""
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_focal_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, targets, weights, ignore_label, gamma = cache
    classes = logits.shape[-1]
    dlogits = np.empty(logits.shape, logits.dtype)
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _differentiate(
        -(-len(targets) // PIXELS), logits.reshape(-1, classes), targets, ignore_label,
        logits.dtype.type(dloss) * weights, gamma, memory, dlogits.reshape(-1, classes),
    )  # fmt: skip
    return dlogits


@kernel
def _add_losses(block, logits, labels, ignore_label, weights, gamma, memory, losses):
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    largest, total = exponentiate(part, memory[get_thread_id()])
    loss = 0.0
    for p in range(len(targets)):
        if targets[p] != ignore_label:
            lost = math.log(total[p]) - (part[p, targets[p]] - largest[p])
            loss += weights[targets[p]] * _focus(lost, gamma) * lost
    losses[block] = loss


@kernel
def _differentiate(block, logits, labels, ignore_label, dweights, gamma, memory, dlogits):
    classes = logits.shape[1]
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    buffer = memory[get_thread_id()]
    dpixel, total = exponentiate(part, buffer)
    for p in range(len(targets)):
        if targets[p] == ignore_label:
            dpixel[p] = 0
        else:
            lost = math.log(total[p]) - (part[p, targets[p]] - dpixel[p])
            dpixel[p] = dweights[targets[p]] * _focus(lost, gamma) * (1 + gamma * _slope(lost))
        total[p] = dpixel[p] / total[p]
    for k in range(classes):
        for p in range(len(targets)):
            buffer[k * PIXELS + p] *= total[p]
    out = dlogits[first : first + PIXELS]
    for k in range(classes):
        for p in range(len(targets)):
            out[p, k] = buffer[k * PIXELS + p]
    for p in range(len(targets)):
        if targets[p] != ignore_label:
            out[p, targets[p]] -= dpixel[p]


@inlined
def _focus(lost, gamma):
    """(1 − p)^γ, for −log p."""
    wrong = -math.expm1(-lost)
    return wrong * wrong if gamma == 2 else wrong**gamma


@inlined
def _slope(lost):
    """p · l/(1 − p), for l = −log p."""
    wrong = -math.expm1(-lost)
    return math.exp(-lost) * (lost / wrong if wrong > 0 else 1.0)
