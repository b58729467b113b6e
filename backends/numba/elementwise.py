"""ReLU and the gated residual, in blocks of values."""

from __future__ import annotations

import numpy as np
from numba import prange

from backends.numba.compile import kernel
from reference.ops.checks import check_arrays, check_gradient
from reference.ops.gated_residual import GatedResidualCache
from reference.ops.relu import ReluCache

#: Values of a block.
_VALUES = 1 << 14


def relu(x: np.ndarray) -> tuple[np.ndarray, ReluCache]:
    """See :func:`reference.ops.relu`."""
    check_arrays("relu", x=(x, "..."))
    y = np.empty(x.shape, x.dtype)
    _rectify(x.reshape(-1), y.reshape(-1))
    return y, ReluCache(y)


def relu_backward(dy: np.ndarray, cache: ReluCache) -> np.ndarray:
    """See :func:`reference.ops.relu_backward`."""
    check_gradient("relu_backward", dy, cache.y.shape, cache.y.dtype)
    dx = np.empty(dy.shape, dy.dtype)
    _rectify_gradient(dy.reshape(-1), cache.y.reshape(-1), dx.reshape(-1))
    return dx


def gated_residual(x: np.ndarray, update: np.ndarray, gate: np.ndarray) -> tuple[np.ndarray, GatedResidualCache]:
    """See :func:`reference.ops.gated_residual`."""
    check_arrays("gated_residual", x=(x, "..."), update=(update, "..."), gate=(gate, ""))
    y = np.empty(x.shape, x.dtype)
    _add_gated(x.reshape(-1), update.reshape(-1), gate[()], y.reshape(-1))
    return y, GatedResidualCache(update, gate)


def gated_residual_backward(
    dy: np.ndarray, cache: GatedResidualCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.gated_residual_backward`."""
    update, gate = cache
    check_gradient("gated_residual_backward", dy, update.shape, update.dtype)
    dupdate = np.empty(dy.shape, dy.dtype)
    products = np.empty(-(-dy.size // _VALUES))
    _differentiate_gated(dy.reshape(-1), update.reshape(-1), gate[()], dupdate.reshape(-1), products)
    return dy, dupdate, np.asarray(products.sum(), dy.dtype)


@kernel
def _rectify(x, y):
    zero = x.dtype.type(0)
    for block in prange(-(-len(x) // _VALUES)):
        for k in range(block * _VALUES, min(len(x), (block + 1) * _VALUES)):
            y[k] = zero if x[k] < zero else x[k]


@kernel
def _rectify_gradient(dy, y, dx):
    zero = dy.dtype.type(0)
    for block in prange(-(-len(dy) // _VALUES)):
        for k in range(block * _VALUES, min(len(dy), (block + 1) * _VALUES)):
            dx[k] = dy[k] if y[k] > zero else zero


@kernel
def _add_gated(x, update, gate, y):
    for block in prange(-(-len(x) // _VALUES)):
        for k in range(block * _VALUES, min(len(x), (block + 1) * _VALUES)):
            y[k] = x[k] + gate * update[k]


@kernel
def _differentiate_gated(dy, update, gate, dupdate, products):
    for block in prange(len(products)):
        product = dy.dtype.type(0)
        for k in range(block * _VALUES, min(len(dy), (block + 1) * _VALUES)):
            dupdate[k] = gate * dy[k]
            product += dy[k] * update[k]
        products[block] = product
