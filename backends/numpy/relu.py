"""The rectified linear unit, on all threads."""

from __future__ import annotations

import numpy as np

from backends.numpy.threads import for_each
from reference.ops.checks import check_arrays, check_gradient
from reference.ops.relu import ReluCache

#: Values in a block.
_BLOCK = 1 << 17


def relu(x: np.ndarray) -> tuple[np.ndarray, ReluCache]:
    """See :func:`reference.ops.relu`.

    >>> y, cache = relu(np.array([-2.0, 0.0, 3.0]))
    >>> y
    array([0., 0., 3.])
    """
    check_arrays("relu", x=(x, "..."))
    y = np.empty(x.shape, x.dtype)
    values, out = x.reshape(-1), y.reshape(-1)
    zeros = np.zeros(min(_BLOCK, x.size), x.dtype)  # faster than with the scalar 0

    def compute(block: slice) -> None:
        part = values[block]
        np.maximum(part, zeros[: len(part)], out=out[block])

    for_each(compute, _blocks(x))
    return y, ReluCache(y)


def relu_backward(dy: np.ndarray, cache: ReluCache) -> np.ndarray:
    """See :func:`reference.ops.relu_backward`.

    >>> y, cache = relu(np.array([-2.0, 0.0, 3.0]))
    >>> relu_backward(np.array([5.0, 6.0, 7.0]), cache)
    array([0., 0., 7.])
    """
    check_gradient("relu_backward", dy, cache.y.shape, cache.y.dtype)
    dx = np.empty(dy.shape, dy.dtype)
    gradient, y, out = dy.reshape(-1), cache.y.reshape(-1), dx.reshape(-1)
    for_each(lambda block: np.multiply(gradient[block], y[block] > 0, out=out[block]), _blocks(dy))
    return dx


def _blocks(x: np.ndarray) -> list[slice]:
    return [slice(first, first + _BLOCK) for first in range(0, x.size, _BLOCK)]
