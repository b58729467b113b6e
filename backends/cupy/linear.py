"""A linear map of each row."""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy.channel_sum import channel_sum
from backends.cupy.checks import checked, checked_gradient
from backends.cupy.gemm import gemm
from backends.cupy.pointwise import finish


class LinearCache(NamedTuple):
    x: cupy.ndarray  # (…, Ci)
    weight: cupy.ndarray  # (Ci, Co)
    has_bias: bool


def linear(
    x: cupy.ndarray, weight: cupy.ndarray, bias: cupy.ndarray | None = None
) -> tuple[cupy.ndarray, LinearCache]:
    """``y = x·W + b`` for every row of ``x``."""
    x, weight, bias = checked("linear", x=(x, "... Ci"), weight=(weight, "Ci Co"), bias=(bias, "Co"))
    inputs, outputs = weight.shape
    y = cupy.empty((*x.shape[:-1], outputs), x.dtype)
    gemm(x.reshape(-1, inputs), weight, y.reshape(-1, outputs))
    if bias is not None:
        finish(y, y, bias)
    return y, LinearCache(x, weight, bias is not None)


def linear_backward(
    dy: cupy.ndarray, cache: LinearCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray | None]:
    """From ``dy (…, Co)``: ``dx``, ``dweight``, and ``dbias`` or None."""
    x, weight, has_bias = cache
    inputs, outputs = weight.shape
    rows = checked_gradient("linear_backward", dy, (*x.shape[:-1], outputs), x.dtype).reshape(-1, outputs)

    # y = x @ weight
    dx = cupy.empty(x.shape, x.dtype)
    gemm(rows, weight.T, dx.reshape(-1, inputs))
    dweight = gemm(x.reshape(-1, inputs).T, rows, cupy.empty(weight.shape, weight.dtype))
    # y += bias
    dbias = channel_sum(rows[None])[0] if has_bias else None
    return dx, dweight, dbias
