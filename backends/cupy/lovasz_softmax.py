"""The Lovász-softmax loss: the pixels of one class after the other are sorted, and the slopes kept in one map."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.checks import checked, checked_labels
from backends.cupy.launch import c_type, launch
from backends.cupy.softmax_cross_entropy import LANES, ROWS
from backends.precision import vector_dtype


class LovaszSoftmaxCache(NamedTuple):
    logits: cupy.ndarray  # (…, K)
    slopes: cupy.ndarray  # (K, pixels), at least float32; of the sum over the classes by the probabilities
    scale: cupy.ndarray  # (), one over the number of classes that occur


def lovasz_softmax(
    logits: cupy.ndarray, labels: cupy.ndarray, *, ignore_label: int = 255
) -> tuple[cupy.ndarray, LovaszSoftmaxCache]:
    """The mean over the classes that occur; NaN for a label that is neither a class nor ignored.

    Which classes occur is known on the device alone, so all are sorted.
    """
    op = "lovasz_softmax"
    (logits,) = checked(op, logits=(logits, "... K"))
    classes = logits.shape[-1]
    targets = checked_labels(op, labels, logits.shape[:-1]).reshape(-1)

    rows = targets.size
    blocks = -(-rows // 256)
    errors = cupy.empty((classes, rows), vector_dtype(logits.dtype))
    partial = cupy.empty((classes, blocks), errors.dtype)
    counts = cupy.empty(classes, np.int32)
    result = cupy.empty(2, errors.dtype)
    launch(
        "lovasz.cu", f"lovasz_errors<{c_type(logits)}>", (-(-rows // ROWS),), (LANES, ROWS),
        logits, targets, errors, rows, classes, ignore_label,
    )
    for c in range(classes):
        if c == ignore_label:  # no class, then
            errors[c], partial[c], counts[c] = 0, 0, 0
            continue
        order = cupy.argsort(errors[c], kind="stable")
        gone = cupy.cumsum(targets[order] == c, dtype=np.int32)
        launch(
            "lovasz.cu", f"lovasz_slopes<{c_type(errors)}>", (blocks,), (256,),
            order, gone, targets, errors[c], partial[c], counts[c:], rows, c,
        )
    launch(
        "lovasz.cu", f"lovasz_finish<{c_type(errors)}>", (1,), (256,), partial, counts, result, blocks, classes
    )
    return result[0], LovaszSoftmaxCache(logits, errors, result[1])


def lovasz_softmax_backward(dloss: cupy.ndarray | float, cache: LovaszSoftmaxCache) -> cupy.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``."""
    logits, slopes, scale = cache
    classes = logits.shape[-1]
    rows = logits.size // classes
    dlogits = cupy.empty(logits.shape, logits.dtype)
    dscaled = (dloss * scale).astype(scale.dtype, copy=False)
    launch(
        "lovasz.cu", f"lovasz_backward<{c_type(logits)}>", (-(-rows // ROWS),), (LANES, ROWS),
        logits, slopes, dscaled, dlogits, rows, classes,
    )
    return dlogits
