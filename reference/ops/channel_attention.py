"""Channel attention (Fu et al., Dual Attention Network for Scene Segmentation, CVPR 2019, section 3.3)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays, check_gradient
from reference.ops.softmax import SoftmaxCache, softmax, softmax_backward

#: How the energy enters the softmax: as in the paper, or negated, as in the authors' code.
SIGNS = {"paper": 1, "released": -1}


class ChannelAttentionCache(NamedTuple):
    x: np.ndarray  # (B, N, C)
    softmax: SoftmaxCache  # holds the attention, (B, C, C)
    sign: int


def channel_attention(
    x: np.ndarray, *, form: Literal["released", "paper"] = "released"
) -> tuple[np.ndarray, ChannelAttentionCache]:
    """Every channel gathers from all channels; the maps themselves are queries, keys and values. ::

        x_ji = exp(A_i · A_j) / Σ_i exp(A_i · A_j)        (3)
        E_j  = β Σ_i x_ji A_i + A_j                       (4)

    A_i is channel i, a vector of N = H·W values: a column of ``x``. Here is the sum Σ_i x_ji A_i; the gate β and
    the residual A_j are :func:`gated_residual`. In matrices, the energy ``xᵀ·x`` is ``(C, C)``, and a row of the
    attention belongs to one query channel j and sums to 1.

    That is the form ``paper``. The authors' code has ``softmax(rowmax(energy) − energy)``: the form ``released``.
    Adding a constant to a row does not change its softmax, so ``rowmax`` affects neither the result nor the
    gradient, and what remains is ``softmax(−energy)``: the channels least like the query have the largest weights.

    Shapes: ``x (B, N, C)`` of any floating dtype → ``(B, N, C)``. Caches x and the ``(C, C)`` attention. Raises
    :class:`OpError` for other shapes or dtypes and for an unknown form.

    >>> x = np.array([[[5.0, 5.0, 0.0], [0.0, 0.0, 2.0]]])  # channels 0 and 1 are alike, channel 2 differs
    >>> y, cache = channel_attention(x, form="paper")
    >>> y.round(2)
    array([[[5.  , 5.  , 0.18],
            [0.  , 0.  , 1.93]]])
    >>> y, cache = channel_attention(x, form="released")
    >>> y.round(2)
    array([[[0.  , 0.  , 4.95],
            [2.  , 2.  , 0.02]]])
    """
    check_arrays("channel_attention", x=(x, "B N C"))
    if form not in SIGNS:
        raise OpError(f"channel_attention: form is {form!r}, wants one of {', '.join(SIGNS)}.")
    sign = SIGNS[form]

    energy = x.mT @ x  # (B, C, C)
    attention, softmax_cache = softmax(sign * energy)  # (B, C, C), rows are queries
    y = x @ attention.mT  # (B, N, C)
    return y, ChannelAttentionCache(x, softmax_cache, sign)


def channel_attention_backward(dy: np.ndarray, cache: ChannelAttentionCache) -> np.ndarray:
    """From ``dy (B, N, C)``: ``dx (B, N, C)``, the sum of what x does as values, as queries and as keys.

    >>> y, cache = channel_attention(np.zeros((1, 1, 2)))  # all channels are alike: each gathers the mean
    >>> channel_attention_backward(np.array([[[4.0, 0.0]]]), cache)
    array([[[2., 2.]]])
    """
    x, softmax_cache, sign = cache
    check_gradient("channel_attention_backward", dy, x.shape, x.dtype)
    attention = softmax_cache.y  # (B, C, C)

    # y = x @ attention.mT
    dx_as_value = dy @ attention  # (B, N, C)
    dattention = dy.mT @ x  # (B, C, C)
    # attention, softmax_cache = softmax(sign * energy)
    denergy = sign * softmax_backward(dattention, softmax_cache)  # (B, C, C)
    # energy = x.mT @ x
    dx_as_query = x @ denergy.mT  # (B, N, C)
    dx_as_key = x @ denergy  # (B, N, C)
    return dx_as_value + dx_as_query + dx_as_key
