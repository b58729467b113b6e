"""Softmax over the last axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class SoftmaxCache(NamedTuple):
    y: np.ndarray  # (…, K)


def softmax(x: np.ndarray) -> tuple[np.ndarray, SoftmaxCache]:
    """Turn each row of logits into probabilities. ::

        y_k = exp(x_k) / Σ_l exp(x_l) = exp(x_k − m) / Σ_l exp(x_l − m)

    for any m. With m the maximum of the row, no exponential overflows, however large the logits are.

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
    """From ``dy (…, K)``: ``dx (…, K)``. ::

        ∂y_l/∂x_k = y_l (δ_lk − y_k)     so     dx_k = y_k (dy_k − Σ_l y_l dy_l)

    The subtracted sum is the mean of dy under the probabilities y, so each row of dx sums to 0: adding a constant
    to a row of logits changes nothing.

    >>> y, cache = softmax(np.zeros((1, 2)))
    >>> softmax_backward(np.array([[4.0, 0.0]]), cache)
    array([[ 1., -1.]])
    """
    y = cache.y
    check_gradient("softmax_backward", dy, y.shape, y.dtype)
    # y = exponential / exponential.sum(axis=-1, keepdims=True)
    return y * (dy - (y * dy).sum(axis=-1, keepdims=True))  # (…, K)
