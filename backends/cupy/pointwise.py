"""Ops of one value at a time: ReLU, dropout and DANet's gate."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.channel_sum import channel_sum
from backends.cupy.checks import checked, checked_gradient
from reference.ops.checks import OpError, check_mask

_relu_backward = cupy.ElementwiseKernel("T y, T dy", "T dx", "dx = y > 0 ? dy : T(0)", "relu_backward")
_masked = cupy.ElementwiseKernel("T x, bool keep, T kept", "T y", "y = keep ? x / kept : T(0)", "masked")
_gated = cupy.ElementwiseKernel("T x, T update, T gate", "T y", "y = x + gate * update", "gated")


class ReluCache(NamedTuple):
    y: cupy.ndarray  # any shape


def relu(x: cupy.ndarray) -> tuple[cupy.ndarray, ReluCache]:
    """``y = max(x, 0)``."""
    (x,) = checked("relu", x=(x, "..."))
    y = cupy.maximum(x, 0)
    return y, ReluCache(y)


def relu_backward(dy: cupy.ndarray, cache: ReluCache) -> cupy.ndarray:
    """``dx = dy`` where x was positive, 0 elsewhere."""
    dy = checked_gradient("relu_backward", dy, cache.y.shape, cache.y.dtype)
    return _relu_backward(cache.y, dy)


class DropoutCache(NamedTuple):
    keep: cupy.ndarray  # boolean, broadcasts to x
    rate: float
    x_shape: tuple[int, ...]
    dtype: np.dtype


def dropout(x: cupy.ndarray, keep: cupy.ndarray, *, rate: float) -> tuple[cupy.ndarray, DropoutCache]:
    """``y = x / (1 − rate)`` where ``keep``, 0 elsewhere."""
    (x,) = checked("dropout", x=(x, "..."))
    check_mask("dropout", keep, x.shape)
    if not 0 <= rate < 1:
        raise OpError(f"dropout: rate is {rate}, wants at least 0 and less than 1.")
    return _masked(x, keep, x.dtype.type(1 - rate)), DropoutCache(keep, float(rate), x.shape, x.dtype)


def dropout_backward(dy: cupy.ndarray, cache: DropoutCache) -> cupy.ndarray:
    """From ``dy``: ``dx``; the op is its own transpose."""
    dy = checked_gradient("dropout_backward", dy, cache.x_shape, cache.dtype)
    return _masked(dy, cache.keep, cache.dtype.type(1 - cache.rate))


class GatedResidualCache(NamedTuple):
    update: cupy.ndarray  # any shape
    gate: cupy.ndarray  # ()


def gated_residual(
    x: cupy.ndarray, update: cupy.ndarray, gate: cupy.ndarray
) -> tuple[cupy.ndarray, GatedResidualCache]:
    """``y = x + gate·update``."""
    x, update, _ = checked("gated_residual", x=(x, "..."), update=(update, "..."), gate=(gate, ""))
    return _gated(x, update, gate), GatedResidualCache(update, gate)


def gated_residual_backward(
    dy: cupy.ndarray, cache: GatedResidualCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray]:
    """From ``dy``: ``dx`` and ``dupdate`` of the same shape, and ``dgate ()``."""
    update, gate = cache
    dy = checked_gradient("gated_residual_backward", dy, update.shape, update.dtype)
    # y = x + gate * update
    rows = (1, -1, dy.shape[-1] if dy.ndim else 1)
    dgate = channel_sum(dy.reshape(rows), update.reshape(rows)).sum()  # ()
    return dy, gate * dy, dgate
