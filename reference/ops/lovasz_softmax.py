"""The Lovász-softmax loss: a convex surrogate of one minus the mean intersection over union."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays
from reference.ops.softmax import SoftmaxCache, softmax, softmax_backward
from reference.ops.softmax_cross_entropy import check_labels


class LovaszSoftmaxCache(NamedTuple):
    softmax: SoftmaxCache
    dprobability: np.ndarray  # (…, K), the derivative of the loss by the probabilities


def lovasz_softmax(
    logits: np.ndarray, labels: np.ndarray, *, ignore_label: int = 255
) -> tuple[np.ndarray, LovaszSoftmaxCache]:
    """The Lovász-softmax loss (Berman, Triki and Blaschko, CVPR 2018, equations 8 and 11). ::

        L = 1/|C| Σ_{c ∈ C} Σ_i m_i g_i,        m_i = 1 − p_ic  if pixel i has the label c,  else  p_ic

    with the probabilities p, over the classes C that occur among the labelled pixels of the whole batch. For each
    class, the pixels are sorted by their errors m, the largest first, and ::

        g_i = Δ(1 … i) − Δ(1 … i − 1)

    is how much the Jaccard loss Δ, one minus intersection over union, grows if the pixel i is predicted wrongly,
    too, after the i − 1 pixels with larger errors. So L is 1 − mIoU where all probabilities are 0 or 1, and linear
    in them between two changes of the order. Pixels with equal errors keep their order; this has no effect on the
    loss, but on its derivative, which jumps there. If every pixel of a batch is ignored, the loss and its gradient
    are 0.

    Shapes: ``logits (…, K)`` of a floating dtype, ``labels (…)`` of any integer dtype → a 0-d array, between 0 and
    1. Caches g in the order of the pixels, as sorting takes longer than anything else here.

    Raises :class:`OpError` for shapes or dtypes that do not fit, and for a label that is neither a class nor
    ignored.

    >>> certain = 1000 * np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss, cache = lovasz_softmax(certain, np.array([0, 1, 1, 1]))
    >>> print(loss.round(6), round(1 - (1 / 2 + 2 / 3) / 2, 6))
    0.416667 0.416667
    """
    op = "lovasz_softmax"
    check_arrays(op, logits=(logits, "... K"))
    check_labels(op, labels, logits.shape, ignore_label)

    probability, cache = softmax(logits)  # (…, K)
    labelled = labels != ignore_label  # (…)
    target = labels[labelled]  # (n,)
    classes = np.unique(target)
    loss = 0.0
    dprobability = np.zeros_like(logits)  # (…, K)
    for c in classes:
        foreground = target == c  # (n,)
        p = probability[labelled, c]  # (n,)
        error = np.where(foreground, 1 - p, p)  # (n,), m
        order = np.argsort(-error, kind="stable")  # (n,)
        slope = np.empty(len(order))
        slope[order] = jaccard_slopes(foreground[order])  # (n,), g
        loss += slope @ error / len(classes)
        dprobability[labelled, c] = np.where(foreground, -slope, slope) / len(classes)
    return np.asarray(loss, logits.dtype), LovaszSoftmaxCache(cache, dprobability)


def lovasz_softmax_backward(dloss: np.ndarray | float, cache: LovaszSoftmaxCache) -> np.ndarray:
    """From the scalar ``dloss``: ``dlogits (…, K)``.

    >>> loss, cache = lovasz_softmax(np.log([[1.0, 3.0]]), np.array([1]))
    >>> lovasz_softmax_backward(1.0, cache)
    array([[ 0.1875, -0.1875]])
    """
    if np.ndim(dloss) != 0:
        raise OpError(f"lovasz_softmax_backward: dloss has shape {np.shape(dloss)}, wants a scalar.")
    # loss += slope @ error / len(classes)
    dprobability = cache.dprobability.dtype.type(dloss) * cache.dprobability  # (…, K)
    # probability, cache = softmax(logits)
    return softmax_backward(dprobability, cache.softmax)  # (…, K)


def jaccard_slopes(foreground: np.ndarray) -> np.ndarray:
    """How much the Jaccard loss grows with each of n pixels, sorted by their errors (algorithm 1 of the paper).

    Of G pixels of the class, after i pixels of which F have the class, G − F are left in the intersection, and the
    union is U = G + i − F. So the Jaccard loss 1 − (G − F)/U grows by 1/U with a pixel of the class, which leaves
    the intersection, and by (G − F)/(U (U − 1)) with another one, which joins the union. Differences of Δ itself,
    as the algorithm has them, would cancel most of their digits.

    Shapes: ``foreground (n,)`` boolean → ``(n,)`` float64.

    >>> jaccard_slopes(np.array([True, False, True]))  # Δ is 1/2, 2/3, 1
    array([0.5       , 0.16666667, 0.33333333])
    """
    i = np.arange(1, len(foreground) + 1)  # (n,)
    gone = np.cumsum(foreground)  # (n,), F
    union = gone[-1] + i - gone  # (n,), U
    left = gone[-1] - gone  # (n,), G − F
    return np.where(foreground, 1 / union, left / (union * np.maximum(union - 1.0, 1.0)))
