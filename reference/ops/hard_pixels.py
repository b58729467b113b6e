"""The pixels that a network finds hardest, to train on these alone: online hard example mining."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax_cross_entropy import check_labels


def hard_pixels(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, threshold: float, least: float
) -> np.ndarray:
    """The labels without those of easy pixels, which are set to ``ignore_label``.

    A pixel is easy if the probability of its true class is above ``threshold``, unless it is one of the
    ``least·n`` hardest of the n labelled pixels. ::

        l_i = log Σ_k exp(z_ik) − z_it = −log p_it
        pixel i is hard  ⇔  l_i ≥ min(−log threshold, l_(m)),    m = max(1, ⌈least·n⌉)

    with logits z, the label t of each pixel i, and the m-th largest loss l_(m). Pixels that tie with the m-th are
    all hard, so no order decides; a NaN is harder than any number. With ``threshold`` 1, all pixels are hard; with
    0, only the m hardest are.

    Hard examples: Shrivastava, Gupta and Girshick, CVPR 2016. For the pixels of a segmentation, chosen in each
    batch by a threshold and a smallest number: Wu, Shen and van den Hengel, *High-performance Semantic Segmentation
    Using Very Deep Fully Convolutional Networks*, 2016.

    The op has no derivative and no cache.

    Shapes: ``logits (…, K)`` of a floating dtype, ``labels (…)`` of any integer dtype → ``(…)`` of that dtype.
    ``threshold`` and ``least`` lie between 0 and 1. Raises :class:`OpError`.

    >>> logits = np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    >>> labels = np.array([0, 0, 0, 255])
    >>> hard_pixels(logits, labels, threshold=0.7, least=0.0)
    array([255,   0,   0, 255])
    >>> hard_pixels(logits, labels, threshold=0.1, least=0.25)  # at least one of three
    array([255, 255,   0, 255])
    """
    op = "hard_pixels"
    check_arrays(op, logits=(logits, "... K"))
    check_labels(op, labels, logits.shape, ignore_label)
    check_selection(op, labels, ignore_label, threshold, least)

    labelled = labels != ignore_label  # (…)
    target = np.where(labelled, labels, 0)  # (…)
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (…, K)
    log_sum_exp = np.log(np.exp(shifted).sum(axis=-1))  # (…)
    z_target = np.take_along_axis(shifted, target[..., None], axis=-1)[..., 0]  # (…)
    loss = log_sum_exp - z_target  # (…)

    hardest = np.sort(loss[labelled])[::-1]  # (n,)
    cut = largest_easy_loss(threshold)
    if len(hardest):
        cut = np.minimum(cut, hardest[smallest_number(least, len(hardest)) - 1])
    return np.where(loss < cut, labels.dtype.type(ignore_label), labels)


def largest_easy_loss(threshold: float) -> float:
    """The loss ``−log threshold``, below which a pixel may be easy.

    >>> largest_easy_loss(0.0), largest_easy_loss(1.0)
    (inf, 0.0)
    """
    return abs(math.log(threshold)) if threshold > 0 else math.inf


def smallest_number(least: float, labelled: int) -> int:
    """How many of so many ``labelled`` pixels are hard, whatever their loss.

    >>> smallest_number(0.0, 40), smallest_number(1 / 16, 40)
    (1, 3)
    """
    return max(1, math.ceil(least * labelled))


def check_selection(op: str, labels: Any, ignore_label: int, threshold: float, least: float) -> None:
    """Check that the two fractions are such, and that labels can be set to the ignored one.

    >>> check_selection("hard_pixels", np.zeros(3, np.uint8), -1, 0.7, 0.1)
    Traceback (most recent call last):
    reference.ops.checks.OpError: hard_pixels: labels are uint8, which cannot be the ignored -1.
    """
    for name, value in (("threshold", threshold), ("least", least)):
        if not 0 <= value <= 1:
            raise OpError(f"{op}: {name} is {value}, wants a number from 0 to 1.")
    limits = np.iinfo(labels.dtype)
    if not limits.min <= ignore_label <= limits.max:
        raise OpError(f"{op}: labels are {labels.dtype}, which cannot be the ignored {ignore_label}.")
