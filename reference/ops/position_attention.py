"""Position attention (Fu et al., Dual Attention Network for Scene Segmentation, CVPR 2019, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.checks import check_arrays, check_gradient
from reference.ops.softmax import SoftmaxCache, softmax, softmax_backward


class PositionAttentionCache(NamedTuple):
    query: np.ndarray  # (B, N, D)
    key: np.ndarray  # (B, N, D)
    value: np.ndarray  # (B, N, C)
    softmax: SoftmaxCache  # holds the attention, (B, N, N)


def position_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, PositionAttentionCache]:
    """Every pixel gathers from all pixels, most from those whose key matches its query. ::

        s_ji = exp(B_i · C_j) / Σ_i exp(B_i · C_j)        (1)
        E_j  = α Σ_i s_ji D_i + A_j                       (2)

    C_j is the ``query`` of pixel j; B_i and D_i are the ``key`` and the ``value`` of pixel i. Here is the sum
    Σ_i s_ji D_i; the gate α and the residual A_j are :func:`gated_residual`. In matrices, with a row for each
    pixel: ``softmax(query·keyᵀ)·value``. A row of the attention belongs to one query and sums to 1. There is no
    division by √D.

    Shapes: ``query (B, N, D)``, ``key (B, N, D)``, ``value (B, N, C)`` → ``(B, N, C)``, with N = H·W pixels, all
    of one floating dtype.

    This is the simplest form. It holds the N×N attention from forward to backward: 4 GiB at N = 32,768. The other
    backends compute the same numbers in blocks of rows and cache one log-sum-exp per row instead.

    Raises :class:`OpError` for shapes or dtypes that do not fit.

    >>> pixels = np.array([[[2.0, 0.0], [0.0, 2.0]]])
    >>> value = np.array([[[1.0], [2.0]]])
    >>> y, cache = position_attention(pixels, pixels[:, ::-1], value)  # each query matches the other pixel's key
    >>> y[0, :, 0].round(2)
    array([1.98, 1.02])
    """
    check_arrays("position_attention", query=(query, "B N D"), key=(key, "B N D"), value=(value, "B N C"))

    energy = query @ key.mT  # (B, N, N)
    attention, softmax_cache = softmax(energy)  # (B, N, N), rows are queries
    y = attention @ value  # (B, N, C)
    return y, PositionAttentionCache(query, key, value, softmax_cache)


def position_attention_backward(
    dy: np.ndarray, cache: PositionAttentionCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From ``dy (B, N, C)``: ``dquery (B, N, D)``, ``dkey (B, N, D)`` and ``dvalue (B, N, C)``.

    >>> zeros = np.zeros((1, 2, 3))  # all pixels are alike: each gathers the mean
    >>> y, cache = position_attention(zeros, zeros, np.array([[[1.0], [2.0]]]))
    >>> dquery, dkey, dvalue = position_attention_backward(np.array([[[4.0], [0.0]]]), cache)
    >>> dvalue[0, :, 0]
    array([2., 2.])
    """
    query, key, value, softmax_cache = cache
    check_gradient("position_attention_backward", dy, value.shape, value.dtype)
    attention = softmax_cache.y  # (B, N, N)

    # y = attention @ value
    dattention = dy @ value.mT  # (B, N, N)
    dvalue = attention.mT @ dy  # (B, N, C)
    # attention, softmax_cache = softmax(energy)
    denergy = softmax_backward(dattention, softmax_cache)  # (B, N, N)
    # energy = query @ key.mT
    dquery = denergy @ key  # (B, N, D)
    dkey = denergy.mT @ query  # (B, N, D)
    return dquery, dkey, dvalue
