"""Linear maps, in blocks of rows."""

from __future__ import annotations

import numpy as np

from backends.numba.finish import Finish
from backends.numba.products import multiply, multiply_transposed
from backends.numba.sums import channel_sum
from reference.ops.checks import check_arrays, check_gradient
from reference.ops.linear import LinearCache


def linear(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None
) -> tuple[np.ndarray, LinearCache]:
    """See :func:`reference.ops.linear`."""
    check_arrays("linear", x=(x, "... Ci"), weight=(weight, "Ci Co"), bias=(bias, "Co"))
    y = multiply(x.reshape(-1, x.shape[-1]), weight, finish=None if bias is None else Finish.of(weight, bias))
    return y.reshape(*x.shape[:-1], -1), LinearCache(x, weight, bias is not None)


def linear_backward(dy: np.ndarray, cache: LinearCache) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.linear_backward`."""
    x, weight, has_bias = cache
    inputs, outputs = weight.shape
    check_gradient("linear_backward", dy, (*x.shape[:-1], outputs), x.dtype)
    rows = dy.reshape(-1, outputs)
    dx = multiply(rows, weight.T).reshape(x.shape)
    dweight = multiply_transposed(x.reshape(-1, inputs), rows)
    return dx, dweight, channel_sum(dy) if has_bias else None
