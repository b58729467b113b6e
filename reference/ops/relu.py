"""The rectified linear unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient


class ReluCache(NamedTuple):
    y: np.ndarray  # any shape


def relu(x: np.ndarray) -> tuple[np.ndarray, ReluCache]:
    """``y = max(x, 0)``, of any shape and floating dtype.

    Caches the output, which the next layer caches, too: y is positive where x was.

    >>> y, cache = relu(np.array([-2.0, 0.0, 3.0]))
    >>> y
    array([0., 0., 3.])
    """
    check_arrays("relu", x=(x, "..."))

    y = np.maximum(x, 0)
    return y, ReluCache(y)


def relu_backward(dy: np.ndarray, cache: ReluCache) -> np.ndarray:
    """``dx = dy`` where x was positive, 0 elsewhere; at x = 0 the derivative is taken as 0.

    >>> y, cache = relu(np.array([-2.0, 0.0, 3.0]))
    >>> relu_backward(np.array([5.0, 6.0, 7.0]), cache)
    array([0., 0., 7.])
    """
    check_gradient("relu_backward", dy, cache.y.shape, cache.y.dtype)
    # y = np.maximum(x, 0)
    return np.where(cache.y > 0, dy, 0)
