"""The hardest pixels: the loss of each by a kernel, the cut between hard and easy from the sorted losses."""

from __future__ import annotations

import cupy

from backends.cupy.checks import checked, checked_labels
from backends.cupy.launch import c_type, launch
from backends.cupy.softmax_cross_entropy import LANES, ROWS
from backends.precision import vector_dtype
from reference.ops.hard_pixels import check_selection, largest_easy_loss


def hard_pixels(
    logits: cupy.ndarray, labels: cupy.ndarray, *, ignore_label: int = 255, threshold: float, least: float
) -> cupy.ndarray:
    """The labels without those of easy pixels. A label that is neither a class nor ignored stays as it is.

    How many pixels have to be hard is known on the device alone, so their losses are sorted, and the place of the
    cut is computed there.
    """
    op = "hard_pixels"
    (logits,) = checked(op, logits=(logits, "... K"))
    classes = logits.shape[-1]
    targets = checked_labels(op, labels, logits.shape[:-1])
    check_selection(op, labels, ignore_label, threshold, least)

    losses = cupy.empty(targets.shape, vector_dtype(logits.dtype))
    pixels = losses.size
    launch(
        "cross_entropy.cu", f"pixel_losses<{c_type(logits)}>", (-(-pixels // ROWS),), (LANES, ROWS),
        logits, targets, losses, pixels, classes, ignore_label,
    )
    labelled = (targets != ignore_label).sum()
    hard = cupy.empty_like(targets)
    launch(
        "cross_entropy.cu", f"hard_pixels<{c_type(losses)}>", (-(-pixels // 256),), (256,),
        losses, cupy.sort(losses.reshape(-1)), labelled, targets, hard, pixels, float(least),
        largest_easy_loss(threshold), ignore_label,
    )
    return hard.astype(labels.dtype, copy=False)
