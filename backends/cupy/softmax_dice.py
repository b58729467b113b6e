"""The Dice loss of a softmax."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.checks import checked, checked_labels
from backends.cupy.launch import c_type, launch
from backends.cupy.softmax_cross_entropy import LANES, MOST_BLOCKS, ROWS
from backends.precision import vector_dtype
from reference.ops.checks import HALVES

_CLASSES = 32  # of a block of the sums: as in dice.cu


class SoftmaxDiceCache(NamedTuple):
    logits: cupy.ndarray  # (…, K)
    labels: cupy.ndarray  # (…), int32
    dice: cupy.ndarray  # (K,), at least float32
    scale: cupy.ndarray  # (K,), 2 / (number of classes that occur · denominator), 0 for those that do not
    ignore_label: int


def softmax_dice(
    logits: cupy.ndarray, labels: cupy.ndarray, *, ignore_label: int = 255
) -> tuple[cupy.ndarray, SoftmaxDiceCache]:
    """One minus the mean Dice coefficient; NaN for a label that is neither a class nor ignored."""
    op = "softmax_dice"
    (logits,) = checked(op, logits=(logits, "... K"))
    classes = logits.shape[-1]
    labels = checked_labels(op, labels, logits.shape[:-1])

    rows = logits.size // classes
    across = -(-classes // _CLASSES)
    chunks = max(1, min(-(-rows // ROWS), MOST_BLOCKS // across))
    partial = cupy.empty((3, chunks, classes), np.float32 if logits.dtype.name in HALVES else np.float64)
    dice, scale = (cupy.empty(classes, vector_dtype(logits.dtype)) for _ in range(2))
    loss = cupy.empty((), dice.dtype)
    launch(
        "dice.cu", f"dice_sums<{c_type(logits)}>", (chunks, across), (LANES, ROWS),
        logits, labels, partial, rows, classes, ignore_label,
    )
    launch(
        "dice.cu", f"dice_finish<{c_type(logits)}>", (1,), (256,), partial, dice, scale, loss, chunks, classes
    )
    return loss, SoftmaxDiceCache(logits, labels, dice, scale, ignore_label)


def softmax_dice_backward(dloss: cupy.ndarray | float, cache: SoftmaxDiceCache) -> cupy.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``."""
    logits, labels, dice, scale, ignore_label = cache
    classes = logits.shape[-1]
    rows = logits.size // classes
    dlogits = cupy.empty(logits.shape, logits.dtype)
    dscale = (dloss * scale).astype(scale.dtype, copy=False)
    launch(
        "dice.cu", f"dice_backward<{c_type(logits)}>", (-(-rows // ROWS),), (LANES, ROWS),
        logits, labels, dice, dscale, dlogits, rows, classes, ignore_label,
    )
    return dlogits
