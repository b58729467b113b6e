"""Channel attention, with the whole C×C map in memory."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cupy

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.gemm import gemm
from backends.cupy.softmax import softmax_rows, softmax_rows_backward
from backends.precision import vector_dtype
from reference.ops.channel_attention import SIGNS
from reference.ops.checks import OpError


class ChannelAttentionCache(NamedTuple):
    x: cupy.ndarray  # (B, N, C)
    attention: cupy.ndarray  # (B, C, C)
    sign: int


def channel_attention(
    x: cupy.ndarray, *, form: Literal["released", "paper"] = "released"
) -> tuple[cupy.ndarray, ChannelAttentionCache]:
    """Every channel gathers from all channels, by ``softmax(±xᵀ·x)``."""
    (x,) = checked("channel_attention", x=(x, "B N C"))
    if form not in SIGNS:
        raise OpError(f"channel_attention: form is {form!r}, wants one of {', '.join(SIGNS)}.")
    batch, _, channels = x.shape
    energy = cupy.empty((batch, channels, channels), vector_dtype(x.dtype))
    gemm(x.transpose(0, 2, 1), x, energy)
    attention = softmax_rows(energy, energy, sign=SIGNS[form]).astype(x.dtype, copy=False)
    y = cupy.empty(x.shape, x.dtype)
    gemm(x, attention.transpose(0, 2, 1), y)
    return y, ChannelAttentionCache(x, attention, SIGNS[form])


def channel_attention_backward(dy: cupy.ndarray, cache: ChannelAttentionCache) -> cupy.ndarray:
    """From ``dy (B, N, C)``: ``dx (B, N, C)``, the sum of what x does as values, as queries and as keys."""
    x, attention, sign = cache
    dy = checked_gradient("channel_attention_backward", dy, x.shape, x.dtype)
    denergy = cupy.empty(attention.shape, vector_dtype(x.dtype))
    # y = x @ attention.mT
    gemm(dy.transpose(0, 2, 1), x, denergy)  # so far dattention
    softmax_rows_backward(attention.astype(denergy.dtype, copy=False), denergy, denergy, sign=sign)
    both = denergy + denergy.transpose(0, 2, 1)  # (B, C, C): x is query and key
    both = both.astype(x.dtype, copy=False)
    dx = cupy.empty(x.shape, x.dtype)
    gemm(dy, attention, dx)
    # energy = x.mT @ x
    gemm(x, both, dx, accumulate=True)
    return dx
