"""The hardest pixels: the loss of each in one compiled pass; the choice is the numpy backend's."""

from __future__ import annotations

import math

import numpy as np
from numba import get_thread_id

from backends.numba.compile import kernel, scratch
from backends.numba.softmax_cross_entropy import PIXELS, exponentiate, targets_of
from backends.numpy.hard_pixels import select
from reference.ops.checks import check_arrays
from reference.ops.hard_pixels import check_selection


def hard_pixels(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, threshold: float, least: float
) -> np.ndarray:
    """See :func:`reference.ops.hard_pixels`."""
    op = "hard_pixels"
    check_arrays(op, logits=(logits, "... K"))
    classes = logits.shape[-1]
    pixels, targets = logits.reshape(-1, classes), targets_of(op, labels, logits.shape, ignore_label)
    check_selection(op, labels, ignore_label, threshold, least)
    losses = np.empty(len(targets), logits.dtype)
    memory = scratch((classes + 2) * PIXELS, logits.dtype)
    _measure(-(-len(targets) // PIXELS), pixels, targets, ignore_label, memory, losses)
    return select(losses, labels, ignore_label, threshold, least)


@kernel
def _measure(block, logits, labels, ignore_label, memory, losses):
    first = block * PIXELS
    part, targets = logits[first : first + PIXELS], labels[first : first + PIXELS]
    largest, total = exponentiate(part, memory[get_thread_id()])
    for p in range(len(targets)):
        losses[first + p] = -np.inf
        if targets[p] != ignore_label:
            losses[first + p] = math.log(total[p]) - (part[p, targets[p]] - largest[p])
