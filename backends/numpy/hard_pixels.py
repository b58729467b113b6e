"""The hardest pixels: the loss of each, in blocks, and a partition where the threshold leaves too few."""

from __future__ import annotations

import numpy as np

from backends.numpy.softmax_cross_entropy import blocks, exponentiate, shifted_block
from backends.numpy.threads import for_each
from reference.ops.checks import check_arrays
from reference.ops.hard_pixels import check_selection, largest_easy_loss, smallest_number
from reference.ops.softmax_cross_entropy import check_labels


def hard_pixels(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, threshold: float, least: float
) -> np.ndarray:
    """See :func:`reference.ops.hard_pixels`.

    >>> logits = np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    >>> hard_pixels(logits, np.array([0, 0, 0, 255]), threshold=0.7, least=0.0)
    array([255,   0,   0, 255])
    """
    op = "hard_pixels"
    check_arrays(op, logits=(logits, "... K"))
    check_labels(op, labels, logits.shape, ignore_label)
    check_selection(op, labels, ignore_label, threshold, least)
    losses = np.empty(labels.size, logits.dtype)

    def measure(pixels: slice) -> None:
        shifted, target, labelled = shifted_block(logits, labels, ignore_label, pixels)
        losses[pixels] = np.where(labelled, exponentiate(shifted, target)[0], -np.inf)

    for_each(measure, blocks(logits))
    return select(losses, labels, ignore_label, threshold, least)


def select(
    losses: np.ndarray, labels: np.ndarray, ignore_label: int, threshold: float, least: float
) -> np.ndarray:
    """The labels of the hard pixels, from the loss of each pixel ``(pixels,)``, −∞ where it is ignored."""
    cut = largest_easy_loss(threshold)
    wanted = smallest_number(least, int(np.count_nonzero(labels != ignore_label)))
    if len(losses) - np.count_nonzero(losses < cut) < wanted:
        nth = len(losses) - wanted
        cut = np.partition(losses, nth)[nth]
    return np.where(losses.reshape(labels.shape) < cut, labels.dtype.type(ignore_label), labels)
