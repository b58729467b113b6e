"""The focal loss of a softmax, averaged over the labelled pixels."""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy.checks import checked, checked_labels
from backends.cupy.launch import c_type, launch
from backends.cupy.softmax_cross_entropy import LANES, MOST_BLOCKS, ROWS
from backends.precision import vector_dtype
from reference.ops.softmax_focal import check_gamma


class SoftmaxFocalCache(NamedTuple):
    logits: cupy.ndarray  # (…, K)
    labels: cupy.ndarray  # (…), int32
    class_weights: cupy.ndarray | None  # (K,)
    scale: cupy.ndarray  # (), at least float32: one over the sum of weights; 0 if all pixels are ignored
    ignore_label: int
    gamma: float


def softmax_focal(
    logits: cupy.ndarray, labels: cupy.ndarray, *, ignore_label: int = 255,
    class_weights: cupy.ndarray | None = None, gamma: float = 2.0,
) -> tuple[cupy.ndarray, SoftmaxFocalCache]:
    """The mean of −(1 − p)^γ log p; NaN for a label that is neither a class nor ignored."""
    op = "softmax_focal"
    logits, class_weights = checked(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    classes = logits.shape[-1]
    labels = checked_labels(op, labels, logits.shape[:-1])
    check_gamma(gamma)

    rows = logits.size // classes
    blocks = min(-(-rows // ROWS), MOST_BLOCKS)
    partial = cupy.empty((2, blocks), vector_dtype(logits.dtype))
    result = cupy.empty(2, partial.dtype)
    launch(
        "focal.cu", f"focal<{c_type(logits)}>", (blocks,), (LANES, ROWS),
        logits, labels, class_weights, partial, rows, classes, ignore_label, float(gamma),
    )
    launch("cross_entropy.cu", f"cross_entropy_finish<{c_type(result)}>", (1,), (256,), partial, result, blocks)
    return result[0], SoftmaxFocalCache(logits, labels, class_weights, result[1], ignore_label, float(gamma))


def softmax_focal_backward(dloss: cupy.ndarray | float, cache: SoftmaxFocalCache) -> cupy.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``."""
    logits, labels, class_weights, scale, ignore_label, gamma = cache
    classes = logits.shape[-1]
    rows = logits.size // classes
    dlogits = cupy.empty(logits.shape, logits.dtype)
    dscaled = (dloss * scale).astype(scale.dtype, copy=False)
    launch(
        "focal.cu", f"focal_backward<{c_type(logits)}>", (-(-rows // ROWS),), (LANES, ROWS),
        logits, labels, class_weights, dscaled, dlogits, rows, classes, ignore_label, gamma,
    )
    return dlogits
