"""The focal loss: a cross-entropy in which pixels that are already right weigh little."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax import softmax
from reference.ops.softmax_cross_entropy import check_labels


class SoftmaxFocalCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    target: np.ndarray  # (…), 0 where ignored
    weight: np.ndarray  # (…), 0 where ignored; sums to 1, or to 0 where all are ignored
    cross_entropy: np.ndarray  # (…), −log p_t
    gamma: float


def softmax_focal(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255, class_weights: np.ndarray | None = None,
    gamma: float = 2.0,
) -> tuple[np.ndarray, SoftmaxFocalCache]:
    """The focal loss (Lin et al., ICCV 2017, equation 5), for a softmax and averaged over the labelled pixels. ::

        L = Σ_i w_t (1 − p_it)^γ (−log p_it) / Σ_i w_t

    with the probability p of the label t of each pixel i: 1 − p is near 0 for a pixel that is already right. The
    class weights w, which are 1 unless given, are the paper's α. With γ = 0 it is :func:`softmax_cross_entropy`, by
    whose weights the mean is taken. If every pixel of a batch is ignored, the loss and its gradient are 0.

    Shapes: ``logits (…, K)`` of a floating dtype, ``labels (…)`` of any integer dtype, ``class_weights (K,)`` of
    the dtype of the logits → a 0-d array. Caches one number a pixel, and the logits.

    Raises :class:`OpError` for shapes, dtypes or labels that do not fit, and for a negative γ.

    >>> logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    >>> loss, cache = softmax_focal(logits, np.array([1, 0, 255]))
    >>> print(loss.round(6), np.mean([-(1 / 4) ** 2 * np.log(3 / 4), -(1 / 2) ** 2 * np.log(1 / 2)]).round(6))
    0.095633 0.095633
    """
    op = "softmax_focal"
    check_arrays(op, logits=(logits, "... K"), class_weights=(class_weights, "K"))
    check_labels(op, labels, logits.shape, ignore_label)
    check_gamma(gamma)

    labelled = labels != ignore_label  # (…)
    target = np.where(labelled, labels, 0)  # (…)
    weight = labelled.astype(logits.dtype)  # (…)
    if class_weights is not None:
        weight = weight * class_weights[target]
    weight = weight / (weight.sum() or 1)  # (…)

    shifted = logits - logits.max(axis=-1, keepdims=True)  # (…, K)
    log_sum_exp = np.log(np.exp(shifted).sum(axis=-1))  # (…)
    z_target = np.take_along_axis(shifted, target[..., None], axis=-1)[..., 0]  # (…)
    cross_entropy = log_sum_exp - z_target  # (…), −log p
    wrong = -np.expm1(-cross_entropy)  # (…), 1 − p
    loss = (weight * wrong**gamma * cross_entropy).sum()  # ()
    return np.asarray(loss), SoftmaxFocalCache(logits, target, weight, cross_entropy, gamma)


def softmax_focal_backward(dloss: np.ndarray | float, cache: SoftmaxFocalCache) -> np.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``.

    The derivative by the cross-entropy l = −log p, of which 1 − p = 1 − e^−l is a function, too, is ::

        d/dl (1 − p)^γ l = (1 − p)^γ + γ (1 − p)^(γ−1) p l = (1 − p)^γ (1 + γ p · l/(1 − p))

    where l/(1 − p) → 1 for p → 1; so there is no power with a negative exponent.

    >>> loss, cache = softmax_focal(np.log([[1.0, 3.0]]), np.array([1]), gamma=0.0)
    >>> softmax_focal_backward(1.0, cache)
    array([[ 0.25, -0.25]])
    """
    logits, target, weight, cross_entropy, gamma = cache
    if np.ndim(dloss) != 0:
        raise OpError(f"softmax_focal_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")

    # loss = (weight * wrong**gamma * cross_entropy).sum()
    # wrong = -np.expm1(-cross_entropy)
    p, wrong = np.exp(-cross_entropy), -np.expm1(-cross_entropy)  # (…)
    ratio = np.divide(cross_entropy, wrong, out=np.ones_like(wrong), where=wrong > 0)  # (…)
    dcross_entropy = logits.dtype.type(dloss) * weight * wrong**gamma * (1 + gamma * p * ratio)  # (…)
    # cross_entropy = log_sum_exp - z_target
    probability, _ = softmax(logits)  # (…, K), the derivative of log_sum_exp
    truth = target[..., None] == np.arange(logits.shape[-1])  # (…, K), the derivative of z_target
    return dcross_entropy[..., None] * (probability - truth)  # (…, K)


def check_gamma(gamma: float) -> None:
    """Check that γ is not negative, which would weigh pixels that are right the most.

    >>> check_gamma(-1.0)
    Traceback (most recent call last):
    reference.ops.checks.OpError: softmax_focal: gamma is -1.0, wants a finite number of at least 0.
    """
    if not 0 <= gamma < math.inf:
        raise OpError(f"softmax_focal: gamma is {gamma}, wants a finite number of at least 0.")
