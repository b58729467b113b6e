"""The loss of segmentation: cross-entropy of a softmax, averaged over the labelled pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax import softmax


class SoftmaxCrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    target: np.ndarray  # (…), 0 where ignored
    weight: np.ndarray  # (…), 0 where ignored; sums to 1, or to 0 where all are ignored


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, class_weights: np.ndarray | None = None
) -> tuple[np.ndarray, SoftmaxCrossEntropyCache]:
    """The mean, over the labelled pixels, of minus the log-probability of the true class. ::

        L = Σ_i w_t (log Σ_k exp(z_ik) − z_it) / Σ_i w_t

    with logits z and the label t of each pixel i, over all pixels whose label is not ``ignore_label``. Class
    weights w are 1 unless given. If every pixel of a batch is ignored, the loss and its gradient are 0.

    Shapes: ``logits (…, K)`` of a floating dtype, ``labels (…)`` of any integer dtype, ``class_weights (K,)`` of
    the dtype of the logits → a 0-d array, in nats.

    Caches the logits and not the probabilities: these are among the largest arrays of a network, and cheap to
    compute again in the backward pass.

    Raises :class:`OpError` for shapes or dtypes that do not fit, and for a label that is neither a class nor
    ignored.

    >>> logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    >>> loss, cache = softmax_cross_entropy(logits, np.array([1, 0, 255]))
    >>> print(loss.round(6), np.mean([-np.log(3 / 4), -np.log(1 / 2)]).round(6))
    0.490415 0.490415
    """
    op = "softmax_cross_entropy"
    check_arrays(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    check_labels(op, labels, logits.shape, ignore_label)

    labelled = labels != ignore_label  # (…)
    target = np.where(labelled, labels, 0)  # (…)
    weight = labelled.astype(logits.dtype)  # (…)
    if class_weights is not None:
        weight = weight * class_weights[target]
    weight = weight / (weight.sum() or 1)  # (…)

    shifted = logits - logits.max(axis=-1, keepdims=True)  # (…, K)
    log_sum_exp = np.log(np.exp(shifted).sum(axis=-1))  # (…)
    z_target = np.take_along_axis(shifted, target[..., None], axis=-1)[..., 0]  # (…)
    loss = (weight * (log_sum_exp - z_target)).sum()  # ()
    return np.asarray(loss), SoftmaxCrossEntropyCache(logits, target, weight)


def softmax_cross_entropy_backward(dloss: np.ndarray | float, cache: SoftmaxCrossEntropyCache) -> np.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``, prediction minus truth, times the weight of the pixel.

    >>> loss, cache = softmax_cross_entropy(np.log([[1.0, 3.0]]), np.array([1]))
    >>> softmax_cross_entropy_backward(1.0, cache)
    array([[ 0.25, -0.25]])
    """
    logits, target, weight = cache
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_cross_entropy_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")

    # loss = (weight * (log_sum_exp - z_target)).sum()
    dpixel = logits.dtype.type(dloss) * weight  # (…)
    # log_sum_exp = np.log(np.exp(shifted).sum(axis=-1))
    probability, _ = softmax(logits)  # (…, K), the derivative of log_sum_exp
    # z_target = np.take_along_axis(shifted, target[..., None], axis=-1)[..., 0]
    truth = target[..., None] == np.arange(logits.shape[-1])  # (…, K), the derivative of z_target
    # shifted = logits - logits.max(axis=-1, keepdims=True)
    return dpixel[..., None] * (probability - truth)  # (…, K)


def check_labels(op: str, labels: Any, logits_shape: tuple[int, ...], ignore_label: int) -> None:
    """Check that each row of logits ``(…, K)`` has one integer label, a class below K or the ignored one.

    >>> check_labels("softmax_cross_entropy", np.array([0, 18, 255, 33]), (4, 19), ignore_label=255)
    Traceback (most recent call last):
    reference.ops.checks.OpError: softmax_cross_entropy: labels hold 33, want 0 to 18 or the ignored 255.
    """
    *shape, classes = logits_shape
    check_label_shape(op, labels, tuple(shape))
    wrong = (labels != ignore_label) & ((labels < 0) | (labels >= classes))
    if wrong.any():
        value = int(labels[wrong][0])
        raise OpError(f"{op}: labels hold {value}, want 0 to {classes - 1} or the ignored {ignore_label}.")


def check_label_shape(op: str, labels: Any, shape: tuple[int, ...]) -> None:
    """As :func:`check_labels`, without reading the values."""
    if not hasattr(labels, "shape") or labels.shape != shape:
        got = getattr(labels, "shape", type(labels).__name__)
        raise OpError(f"{op}: labels have shape {got}, want {shape} as the logits have.")
    if labels.dtype.kind not in "iu":
        raise OpError(f"{op}: labels are {labels.dtype}, want an integer dtype.")
