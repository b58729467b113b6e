"""Position attention in tiles of queries × keys, by the method of :mod:`backends.numpy.position_attention`."""

from __future__ import annotations

import numpy as np
from numba import get_thread_id, prange

from backends.contract import Cache
from backends.numba import blas
from backends.numba.compile import inner, kernel, scratch
from backends.numba.exp import exp_up_to_zero
from backends.numba.windows import carve
from backends.numpy.position_attention import PositionAttentionCache
from reference.ops.checks import check_arrays, check_gradient

#: Queries and keys of a tile.
_QUERIES, _KEYS = 256, 512
#: Values in the parts of dquery that are summed together.
_PARTS = 1 << 23


def position_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.position_attention`."""
    check_arrays("position_attention", query=(query, "B N D"), key=(key, "B N D"), value=(value, "B N C"))
    y = np.empty(value.shape, value.dtype)
    maximum, total = np.empty((2, *query.shape[:2], 1), value.dtype)
    memory = scratch(_QUERIES * _KEYS, value.dtype)
    _attend(query, key, value, _QUERIES, _KEYS, memory, y, maximum[:, :, 0], total[:, :, 0])
    return y, PositionAttentionCache(query, key, value, y, maximum, total)


def position_attention_backward(
    dy: np.ndarray, cache: Cache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.position_attention_backward`."""
    query, key, value, y, maximum, total = cache
    check_gradient("position_attention_backward", dy, y.shape, y.dtype)
    dquery, dkey, dvalue = (np.zeros(x.shape, x.dtype) for x in (query, key, value))
    _, pixels, inner_channels = query.shape
    keys = min(_KEYS, pixels)
    together = max(1, min(-(-pixels // keys), _PARTS // query[0].size))
    parts = np.empty((together, pixels, inner_channels), query.dtype)
    memory = scratch(_QUERIES * (2 * _KEYS + value.shape[2] + 1), value.dtype)
    for image in range(len(query)):
        _differentiate(
            dy[image], query[image], key[image], value[image], y[image], maximum[image, :, 0], total[image, :, 0],
            _QUERIES, keys, memory, parts, dquery[image], dkey[image], dvalue[image],
        )  # fmt: skip
    return dquery, dkey, dvalue


@kernel
def _attend(query, key, value, queries, keys, memory, y, maximum, total):
    batch, pixels, channels = y.shape
    blocks = -(-pixels // queries)
    for block in prange(batch * blocks):
        image, first = block // blocks, block % blocks * queries
        last = min(first + queries, pixels)
        buffer = memory[get_thread_id()]
        out = y[image, first:last]
        out[:] = 0
        largest, sums = maximum[image, first:last], total[image, first:last]
        largest[:] = -np.inf
        sums[:] = 0
        for start in range(0, pixels, keys):
            stop = min(start + keys, pixels)
            energy, _ = carve(buffer, 0, (last - first, stop - start))
            blas.multiply(query[image, first:last], key[image, start:stop].T, energy, False)
            for row in range(last - first):
                before = largest[row]
                largest[row] = max(before, _largest(energy[row]))
                rescale = exp_up_to_zero(before - largest[row])  # sums so far were taken with a smaller maximum
                sums[row] = rescale * sums[row] + _exponentiate(energy[row], largest[row])
                if rescale != 1:
                    for c in range(channels):
                        out[row, c] *= rescale
            blas.multiply(energy, value[image, start:stop], out, True)
        for row in range(last - first):
            for c in range(channels):
                out[row, c] /= sums[row]


@kernel
def _differentiate(
    dy, query, key, value, y, maximum, total, queries, keys, memory, parts, dquery, dkey, dvalue
):
    pixels, channels = y.shape
    blocks = -(-pixels // keys)
    for group in range(0, blocks, len(parts)):
        members = min(len(parts), blocks - group)
        for member in prange(members):
            start = (group + member) * keys
            stop = min(start + keys, pixels)
            buffer = memory[get_thread_id()]
            for first in range(0, pixels, queries):
                last = min(first + queries, pixels)
                weights, end = carve(buffer, 0, (last - first, stop - start))
                denergy, end = carve(buffer, end, (last - first, stop - start))
                dy_rows, end = carve(buffer, end, (last - first, channels))
                means, end = carve(buffer, end, (last - first,))
                # attention = exp(energy − maximum) / total: the division is applied to the rows of dy
                for row in range(last - first):
                    mean = dy.dtype.type(0)
                    for c in range(channels):
                        dy_rows[row, c] = dy[first + row, c] / total[first + row]
                        mean += dy_rows[row, c] * y[first + row, c]
                    means[row] = mean
                blas.multiply(query[first:last], key[start:stop].T, weights, False)
                for row in range(last - first):
                    _exponentiate(weights[row], maximum[first + row])
                # y = attention @ value
                blas.multiply(weights.T, dy_rows, dvalue[start:stop], True)
                blas.multiply(dy_rows, value[start:stop].T, denergy, False)  # so far dattention
                # attention = softmax(energy)
                for row in range(last - first):
                    for k in range(stop - start):
                        denergy[row, k] = weights[row, k] * (denergy[row, k] - means[row])
                # energy = query @ keyᵀ
                blas.multiply(denergy, key[start:stop], parts[member, first:last], False)
                blas.multiply(denergy.T, query[first:last], dkey[start:stop], True)
        for member in range(members):
            dquery += parts[member]


@inner
def _largest(values):
    largest = values[0]
    for value in values:
        largest = value if value > largest or value != value else largest
    return largest


@inner
def _exponentiate(energy, maximum):
    """``exp(energy − maximum)`` in place, and its sum."""
    total = energy.dtype.type(0)
    for k in range(len(energy)):
        energy[k] = exp_up_to_zero(energy[k] - maximum)
        total += energy[k]
    return total
