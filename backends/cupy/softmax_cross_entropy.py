"""Cross-entropy of a softmax, averaged over the labelled pixels."""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy.checks import checked, checked_labels
from backends.cupy.launch import c_type, launch
from backends.precision import vector_dtype

LANES, ROWS = 8, 32  # threads of a pixel, pixels of a block: as in labels.cuh
MOST_BLOCKS = 1024


class SoftmaxCrossEntropyCache(NamedTuple):
    logits: cupy.ndarray  # (…, K)
    labels: cupy.ndarray  # (…), int32
    class_weights: cupy.ndarray | None  # (K,)
    scale: cupy.ndarray  # (), at least float32: one over the sum of weights; 0 if all pixels are ignored
    ignore_label: int


def softmax_cross_entropy(
    logits: cupy.ndarray,
    labels: cupy.ndarray,
    *,
    ignore_label: int = 255,
    class_weights: cupy.ndarray | None = None,
) -> tuple[cupy.ndarray, SoftmaxCrossEntropyCache]:
    """The mean, over labelled pixels, of minus the log-probability of the true class.

    A label that is neither a class nor ignored makes the loss NaN: raising would have to wait for the device.
    """
    op = "softmax_cross_entropy"
    logits, class_weights = checked(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    classes = logits.shape[-1]
    labels = checked_labels(op, labels, logits.shape[:-1])

    rows = logits.size // classes
    blocks = min(-(-rows // ROWS), MOST_BLOCKS)
    partial = cupy.empty((2, blocks), vector_dtype(logits.dtype))
    result = cupy.empty(2, partial.dtype)
    launch(
        "cross_entropy.cu", f"cross_entropy<{c_type(logits)}>", (blocks,), (LANES, ROWS),
        logits, labels, class_weights, partial, rows, classes, ignore_label,
    )
    launch("cross_entropy.cu", f"cross_entropy_finish<{c_type(result)}>", (1,), (256,), partial, result, blocks)
    return result[0], SoftmaxCrossEntropyCache(logits, labels, class_weights, result[1], ignore_label)


def softmax_cross_entropy_backward(dloss: cupy.ndarray | float, cache: SoftmaxCrossEntropyCache) -> cupy.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``, prediction minus truth, times the weight of the pixel."""
    logits, labels, class_weights, scale, ignore_label = cache
    classes = logits.shape[-1]
    rows = logits.size // classes
    dlogits = cupy.empty(logits.shape, logits.dtype)
    dscaled = (dloss * scale).astype(scale.dtype, copy=False)
    launch(
        "cross_entropy.cu", f"cross_entropy_backward<{c_type(logits)}>", (-(-rows // ROWS),), (LANES, ROWS),
        logits, labels, class_weights, dscaled, dlogits, rows, classes, ignore_label,
    )
    return dlogits
