"""Elementwise ops: ReLU, dropout and DANet's gate; and the epilogue of products and convolutions."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.channel_sum import channel_sum
from backends.cupy.checks import checked, checked_gradient, readable
from backends.cupy.launch import c_type, launch, vector_width
from reference.ops.checks import OpError
from reference.ops.dropout import check_mask


class ReluCache(NamedTuple):
    y: cupy.ndarray  # any shape


def relu(x: cupy.ndarray) -> tuple[cupy.ndarray, ReluCache]:
    """``y = max(x, 0)``."""
    (x,) = checked("relu", x=(x, "..."))
    y = finish(x, cupy.empty(x.shape, x.dtype), relu=True)
    return y, ReluCache(y)


def relu_backward(dy: cupy.ndarray, cache: ReluCache) -> cupy.ndarray:
    """``dx = dy`` where x was positive, 0 elsewhere."""
    dy = checked_gradient("relu_backward", dy, cache.y.shape, cache.y.dtype)
    dx = cupy.empty(dy.shape, dy.dtype)
    width, groups, *shape = _groups(dy)
    launch("pointwise.cu", f"relu_backward<{c_type(dy)}, {width}>", *shape, cache.y, dy, dx, groups)
    return dx


class DropoutCache(NamedTuple):
    mask: cupy.ndarray  # boolean, broadcasts to x
    rate: float
    x_shape: tuple[int, ...]
    dtype: np.dtype


def dropout(x: cupy.ndarray, mask: cupy.ndarray, *, rate: float) -> tuple[cupy.ndarray, DropoutCache]:
    """``y = x / (1 − rate)`` where ``mask`` is True, 0 elsewhere."""
    (x,) = checked("dropout", x=(x, "..."))
    check_mask("dropout", mask, x.shape)
    if not 0 <= rate < 1:
        raise OpError(f"dropout: rate is {rate}, wants at least 0 and less than 1.")
    return _masked(x, mask, rate), DropoutCache(mask, float(rate), x.shape, x.dtype)


def dropout_backward(dy: cupy.ndarray, cache: DropoutCache) -> cupy.ndarray:
    """From ``dy``: ``dx``; the op is its own transpose."""
    return _masked(checked_gradient("dropout_backward", dy, cache.x_shape, cache.dtype), cache.mask, cache.rate)


class GatedResidualCache(NamedTuple):
    update: cupy.ndarray  # any shape
    gate: cupy.ndarray  # ()


def gated_residual(
    x: cupy.ndarray, update: cupy.ndarray, gate: cupy.ndarray
) -> tuple[cupy.ndarray, GatedResidualCache]:
    """``y = x + gate·update``."""
    x, update, gate = checked("gated_residual", x=(x, "..."), update=(update, "..."), gate=(gate, ""))
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
    return dy, _gated(None, dy, gate), dgate


def finish(
    z: cupy.ndarray,
    out: cupy.ndarray,
    bias: cupy.ndarray | None = None,
    residual: cupy.ndarray | None = None,
    *,
    relu: bool = False,
) -> cupy.ndarray:
    """``out = relu(z + bias + residual)``, each of them if given, in one pass; ``out`` may be ``z``."""
    width, groups, *shape = _groups(z, whole_rows=bias is not None)
    channels = z.shape[-1] if z.ndim else 1
    launch(
        "pointwise.cu", f"finish<{c_type(z)}, {width}>", *shape, z, bias, residual, out, groups, channels, relu
    )
    return out


def _gated(x: cupy.ndarray | None, update: cupy.ndarray, gate: cupy.ndarray) -> cupy.ndarray:
    y = cupy.empty(update.shape, update.dtype)
    width, groups, *shape = _groups(update)
    launch("pointwise.cu", f"gated<{c_type(update)}, {width}>", *shape, x, update, gate, y, groups)
    return y


def _masked(x: cupy.ndarray, mask: cupy.ndarray, rate: float) -> cupy.ndarray:
    mask = readable(cupy.broadcast_to(mask, x.shape))
    y = cupy.empty(x.shape, x.dtype)
    width, groups, *shape = _groups(x)
    launch("pointwise.cu", f"masked<{c_type(x)}, {width}>", *shape, x, mask, y, groups, 1.0 - rate)
    return y


def _groups(array: cupy.ndarray, *, whole_rows: bool = False) -> tuple[int, np.int64, tuple[int], tuple[int]]:
    """The neighbouring values of a thread, the number of such groups, and the grid and block for them."""
    width = vector_width(array.shape[-1] if whole_rows else array.size, array.itemsize)
    groups = array.size // width
    return width, np.int64(groups), (-(-groups // 256),), (256,)
