"""Softmax over the last axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class SoftmaxCache(NamedTuple):
    y: np.ndarray  # (…, K)


def softmax(x: np.ndarray) -> tuple[np.ndarray, SoftmaxCache]:
    r"""Turn each row of logits into probabilities.

    .. math:: y_k = \frac{\exp x_k}{\sum_l \exp x_l} = \frac{\exp(x_k − m)}{\sum_l \exp(x_l − m)}

    for any m. With m the row's maximum no exponential overflows, however large the logits.

    Shapes: ``x (…, K)`` of any floating dtype → ``(…, K)``. Caches the output. Raises :class:`OpError` for an
    array without values and for other dtypes.

    >>> y, cache = softmax(np.array([[1000.0, 1000.0, -1000.0]]))
    >>> y
    array([[0.5, 0.5, 0. ]])
    """
    check_arrays("softmax", x=(x, "... K"))

    exponential = np.exp(x - x.max(axis=-1, keepdims=True))  # (…, K)
    y = exponential / exponential.sum(axis=-1, keepdims=True)  # (…, K)
    return y, SoftmaxCache(y)


def softmax_backward(dy: np.ndarray, cache: SoftmaxCache) -> np.ndarray:
    r"""From ``dy (…, K)``: ``dx (…, K)``.

    .. math:: \frac{∂y_l}{∂x_k} = y_l (δ_{lk} − y_k) \quad⇒\quad dx_k = y_k \Big( dy_k − \sum_l y_l \, dy_l \Big)

    The second term is the mean of dy under the probabilities y; so each row of dx sums to 0: moving all logits
    of a row together changes nothing.

    >>> y, cache = softmax(np.zeros((1, 2)))
    >>> softmax_backward(np.array([[4.0, 0.0]]), cache)
    array([[ 1., -1.]])
    """
    y = cache.y
    check_gradient("softmax_backward", dy, y.shape, y.dtype)
    # y = exp(x - m) / sum(exp(x - m))
    return y * (dy - (y * dy).sum(axis=-1, keepdims=True))  # (…, K)
