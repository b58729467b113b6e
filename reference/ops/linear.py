"""A linear map of each row, the same for all rows: also a 1×1 convolution of tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient
from reference.ops.sums import channel_sum


class LinearCache(NamedTuple):
    x: np.ndarray  # (…, Ci)
    weight: np.ndarray  # (Ci, Co)
    has_bias: bool


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, LinearCache]:
    """``y = x·W + b`` for every row of ``x``.

    Shapes: ``x (…, Ci)`` with any leading axes, ``weight (Ci, Co)``, ``bias (Co,)`` → ``(…, Co)``, all of one
    floating dtype. Caches x and the weight. Raises :class:`OpError` for shapes or dtypes that do not fit.

    >>> y, cache = linear(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]]), np.ones(3))
    >>> y
    array([[ 2.,  3., 12.]])
    """
    check_arrays("linear", x=(x, "... Ci"), weight=(weight, "Ci Co"), bias=(bias, "Co"))

    y = x @ weight  # (…, Co)
    if bias is not None:
        y = y + bias
    return y, LinearCache(x, weight, bias is not None)


def linear_backward(dy: np.ndarray, cache: LinearCache) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """From ``dy (…, Co)``: ``dx``, ``dweight``, and ``dbias`` or None.

    >>> y, cache = linear(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    >>> linear_backward(np.array([[1.0]]), cache)
    (array([[3., 4.]]), array([[1.],
           [2.]]), None)
    """
    x, weight, has_bias = cache
    inputs, outputs = weight.shape
    check_gradient("linear_backward", dy, (*x.shape[:-1], outputs), x.dtype)

    # y = x @ weight
    dx = dy @ weight.T  # (…, Ci)
    dweight = x.reshape(-1, inputs).T @ dy.reshape(-1, outputs)  # (Ci, Co)
    # y = y + bias
    dbias = channel_sum(dy) if has_bias else None  # (Co,)
    return dx, dweight, dbias
