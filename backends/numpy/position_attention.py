"""Position attention in tiles of queries × keys, without ever holding the N×N attention.

The softmax of a row is accumulated tile by tile (Milakov and Gimelshein, 2018) and computed again in the backward
pass (FlashAttention, Dao et al., 2022), from each row's maximum and sum. These are the two parts of its
log-sum-exp: their sum in float32 would lose digits where the maximum is large.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.contract import Cache
from backends.numpy.threads import for_each, sum_over
from reference.ops.checks import check_arrays, check_gradient

#: Queries and keys of a tile.
_QUERIES, _KEYS = 512, 1024


class PositionAttentionCache(NamedTuple):
    query: np.ndarray  # (B, N, D)
    key: np.ndarray  # (B, N, D)
    value: np.ndarray  # (B, N, C)
    y: np.ndarray  # (B, N, C)
    maximum: np.ndarray  # (B, N, 1), of each row of energies
    total: np.ndarray  # (B, N, 1), of each row of exp(energy − maximum)


def position_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.position_attention`.

    >>> pixels = np.array([[[100.0, 0.0], [0.0, 100.0]]])
    >>> y, cache = position_attention(pixels, pixels[:, ::-1], np.array([[[1.0], [2.0]]]))
    >>> y[0, :, 0]
    array([2., 1.])
    """
    check_arrays("position_attention", query=(query, "B N D"), key=(key, "B N D"), value=(value, "B N C"))
    batch, pixels, _ = query.shape
    y = np.empty(value.shape, value.dtype)
    maximum = np.full((batch, pixels, 1), -np.inf, value.dtype)
    total = np.zeros_like(maximum)

    def attend(rows: tuple[int, slice]) -> None:
        y_rows, rows_maximum, rows_total = y[rows], maximum[rows], total[rows]
        y_rows[:] = 0
        for keys in _cut(pixels, _KEYS):
            energy = query[rows] @ key[rows[0], keys].T  # (queries, keys)
            before = rows_maximum.copy()
            np.maximum(before, energy.max(axis=1, keepdims=True), out=rows_maximum)
            weights = np.exp(np.subtract(energy, rows_maximum, out=energy), out=energy)
            rescale = np.exp(before - rows_maximum)  # sums so far were taken with a smaller maximum
            rows_total *= rescale
            rows_total += weights.sum(axis=1, keepdims=True)
            y_rows *= rescale
            y_rows += weights @ value[rows[0], keys]
        y_rows /= rows_total

    for_each(attend, [(b, rows) for b in range(batch) for rows in _cut(pixels, _QUERIES)])
    return y, PositionAttentionCache(query, key, value, y, maximum, total)


def position_attention_backward(
    dy: np.ndarray, cache: Cache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.position_attention_backward`.

    The softmax's derivative subtracts from dattention its mean under each row of the attention. Since
    ``y = attention @ value``, that mean is ``dy·y``, and no second pass over the keys is needed.

    >>> zeros = np.zeros((1, 2, 3))
    >>> y, cache = position_attention(zeros, zeros, np.array([[[1.0], [2.0]]]))
    >>> dquery, dkey, dvalue = position_attention_backward(np.array([[[4.0], [0.0]]]), cache)
    >>> dvalue[0, :, 0]
    array([2., 2.])
    """
    check_gradient("position_attention_backward", dy, cache.y.shape, cache.y.dtype)
    gradients = [_backward(*image) for image in zip(dy, *cache, strict=True)]
    dquery, dkey, dvalue = (np.stack(gradient) for gradient in zip(*gradients, strict=True))
    return dquery, dkey, dvalue


def _backward(
    dy: np.ndarray, query: np.ndarray, key: np.ndarray, value: np.ndarray, y: np.ndarray, maximum: np.ndarray,
    total: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients for one image. A thread has some of the keys; their gradients of all queries are summed."""
    dkey, dvalue = np.zeros(key.shape, key.dtype), np.zeros(value.shape, value.dtype)

    def differentiate(keys: slice) -> tuple[np.ndarray]:
        dquery = np.empty(query.shape, query.dtype)
        for rows in _cut(len(query), _QUERIES):
            # attention = exp(energy − maximum) / total: the division is applied to the rows of dy
            dy_rows = dy[rows] / total[rows]  # (queries, C)
            energy = query[rows] @ key[keys].T  # (queries, keys)
            weights = np.exp(np.subtract(energy, maximum[rows], out=energy), out=energy)
            # y = attention @ value
            dvalue[keys] += weights.T @ dy_rows
            denergy = dy_rows @ value[keys].T  # so far dattention
            # attention = softmax(energy)
            denergy -= (dy_rows * y[rows]).sum(axis=1, keepdims=True)
            denergy *= weights
            # energy = query @ keyᵀ
            dquery[rows] = denergy @ key[keys]
            dkey[keys] += denergy.T @ query[rows]
        return (dquery,)

    (dquery,) = sum_over(differentiate, _cut(len(key), _KEYS))
    return dquery, dkey, dvalue


def _cut(pixels: int, most: int) -> list[slice]:
    """Slices of about equal length, no longer than ``most``."""
    parts = -(-pixels // most)
    length = -(-pixels // parts)
    return [slice(first, min(first + length, pixels)) for first in range(0, pixels, length)]
