"""The Lovász-softmax loss: the classes are sorted on several threads, and the slopes kept in one map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numpy.softmax_cross_entropy import blocks, shifted_block
from backends.numpy.threads import for_each, sum_over
from reference.ops.checks import OpError, check_arrays
from reference.ops.lovasz_softmax import jaccard_slopes
from reference.ops.softmax_cross_entropy import check_labels


class LovaszSoftmaxCache(NamedTuple):
    logits: np.ndarray  # (…, K)
    dprobability: np.ndarray  # (K, pixels), the derivative of the loss by the probabilities


def lovasz_softmax(logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.lovasz_softmax`.

    >>> certain = 1000 * np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss, cache = lovasz_softmax(certain, np.array([0, 1, 1, 1]))
    >>> print(loss.round(6))
    0.416667
    """
    op = "lovasz_softmax"
    check_arrays(op, logits=(logits, "... K"))
    check_labels(op, labels, logits.shape, ignore_label)
    targets = labels.reshape(-1)
    counted = np.flatnonzero(targets != ignore_label)
    errors = np.zeros((logits.shape[-1], targets.size), logits.dtype)

    def measure(pixels: slice) -> None:
        shifted, target, _ = shifted_block(logits, labels, ignore_label, pixels)
        error = np.exp(shifted, out=shifted)
        error /= error.sum(axis=0)
        here = target, np.arange(len(target))
        error[here] = 1 - error[here]
        errors[:, pixels] = error

    for_each(measure, blocks(logits))
    classes = np.unique(targets[counted])

    def sort(c: int) -> tuple[float]:
        """Replace the errors of class c by their slopes; return its loss."""
        error = errors[c, counted]
        order = counted[np.argsort(-error, kind="stable")]
        foreground = targets[order] == c
        slopes = jaccard_slopes(foreground)
        loss = slopes @ errors[c, order]
        slopes[foreground] *= -1
        errors[c] = 0
        errors[c, order] = slopes / len(classes)
        return (loss / len(classes),)

    errors[np.setdiff1d(np.arange(len(errors)), classes)] = 0
    loss = sum_over(sort, classes) or (0.0,)
    return np.asarray(loss[0], logits.dtype), LovaszSoftmaxCache(logits, errors)


def lovasz_softmax_backward(dloss: np.ndarray | float, cache: Cache) -> np.ndarray:
    """See :func:`reference.ops.lovasz_softmax_backward`.

    >>> loss, cache = lovasz_softmax(np.log([[1.0, 3.0]]), np.array([1]))
    >>> lovasz_softmax_backward(1.0, cache)
    array([[ 0.1875, -0.1875]])
    """
    if np.ndim(dloss) != 0:
        raise OpError(f"lovasz_softmax_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    logits, derror = cache
    dlogits = np.empty(logits.shape, logits.dtype)

    def differentiate(pixels: slice) -> None:
        probability = np.array(logits.reshape(-1, logits.shape[-1])[pixels].T, order="C")
        probability -= probability.max(axis=0)
        np.exp(probability, out=probability)
        probability /= probability.sum(axis=0)
        dprobability = logits.dtype.type(dloss) * derror[:, pixels]
        dprobability -= np.einsum("kp,kp->p", probability, dprobability)
        dprobability *= probability
        dlogits.reshape(-1, logits.shape[-1])[pixels] = dprobability.T

    for_each(differentiate, blocks(logits))
    return dlogits
