"""ReLU and the gated residual, in blocks of values."""

from __future__ import annotations

import numpy as np

from backends.numba.compile import inner, kernel
from reference.ops.checks import check_arrays, check_gradient
from reference.ops.gated_residual import GatedResidualCache
from reference.ops.relu import ReluCache

#: Values of a block.
_VALUES = 1 << 14


def relu(x: np.ndarray) -> tuple[np.ndarray, ReluCache]:
    """See :func:`reference.ops.relu`."""
    check_arrays("relu", x=(x, "..."))
    y = np.empty(x.shape, x.dtype)
    _rectify(_blocks(x), x.reshape(-1), y.reshape(-1))
    return y, ReluCache(y)


def relu_backward(dy: np.ndarray, cache: ReluCache) -> np.ndarray:
    """See :func:`reference.ops.relu_backward`."""
    check_gradient("relu_backward", dy, cache.y.shape, cache.y.dtype)
    dx = np.empty(dy.shape, dy.dtype)
    _rectify_gradient(_blocks(dy), dy.reshape(-1), cache.y.reshape(-1), dx.reshape(-1))
    return dx


def gated_residual(x: np.ndarray, update: np.ndarray, gate: np.ndarray) -> tuple[np.ndarray, GatedResidualCache]:
    """See :func:`reference.ops.gated_residual`."""
    check_arrays("gated_residual", x=(x, "..."), update=(update, "..."), gate=(gate, ""))
    y = np.empty(x.shape, x.dtype)
    _add_gated(_blocks(x), x.reshape(-1), update.reshape(-1), gate[()], y.reshape(-1))
    return y, GatedResidualCache(update, gate)


def gated_residual_backward(
    dy: np.ndarray, cache: GatedResidualCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.gated_residual_backward`."""
    update, gate = cache
    check_gradient("gated_residual_backward", dy, update.shape, update.dtype)
    dupdate = np.empty(dy.shape, dy.dtype)
    products = np.empty(_blocks(dy))
    _differentiate_gated(len(products), dy.reshape(-1), update.reshape(-1), gate[()], dupdate.reshape(-1), products)
    return dy, dupdate, np.asarray(products.sum(), dy.dtype)


def _blocks(x: np.ndarray) -> int:
    return -(-x.size // _VALUES)


# A part of an array has places from 0 on. LLVM vectorises loops over these, in the same way wherever arrays are.


@inner
def _part_of(x, block):
    return x[block * _VALUES : (block + 1) * _VALUES]


@kernel
def _rectify(block, x, y):
    zero = x.dtype.type(0)
    part, out = _part_of(x, block), _part_of(y, block)
    for k in range(len(part)):
        out[k] = zero if part[k] < zero else part[k]


@kernel
def _rectify_gradient(block, dy, y, dx):
    zero = dy.dtype.type(0)
    given, positive, out = _part_of(dy, block), _part_of(y, block), _part_of(dx, block)
    for k in range(len(given)):
        out[k] = given[k] if positive[k] > zero else zero


@kernel
def _add_gated(block, x, update, gate, y):
    part, more, out = _part_of(x, block), _part_of(update, block), _part_of(y, block)
    for k in range(len(part)):
        out[k] = part[k] + gate * more[k]


@kernel
def _differentiate_gated(block, dy, update, gate, dupdate, products):
    given, more, out = _part_of(dy, block), _part_of(update, block), _part_of(dupdate, block)
    product = dy.dtype.type(0)
    for k in range(len(given)):
        out[k] = gate * given[k]
        product += given[k] * more[k]
    products[block] = product
