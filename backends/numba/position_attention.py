"""Position attention in tiles of queries × keys, by the method of :mod:`backends.numpy.position_attention`."""

from __future__ import annotations

import numpy as np
from numba import get_thread_id

from backends.contract import Cache
from backends.numba import blas, gemm
from backends.numba.compile import inner, kernel, scratch
from backends.numba.exp import exp_up_to_zero
from backends.numba.memory import carve
from backends.numpy.position_attention import PositionAttentionCache
from reference.ops.checks import check_arrays, check_gradient

#: Queries and keys of a tile, forward and backward.
_QUERIES, _KEYS = 192, 256
_BACKWARD_QUERIES, _BACKWARD_KEYS = 256, 512
#: Values in the parts of dquery that are summed together.
_PARTS = 1 << 23


def position_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, Cache]:
    """See :func:`reference.ops.position_attention`."""
    check_arrays("position_attention", query=(query, "B N D"), key=(key, "B N D"), value=(value, "B N C"))
    y = np.empty(value.shape, value.dtype)
    maximum, total = np.empty((2, *query.shape[:2], 1), value.dtype)
    panels = sum(
        gemm.most_values(*shape)
        for shape in ((query.shape[2], _QUERIES), (_KEYS, _QUERIES), (_KEYS, value.shape[2]))
    )
    memory = scratch((_KEYS + 2) * _QUERIES + panels, value.dtype)
    blocks = len(query) * -(-query.shape[1] // _QUERIES)
    _attend(blocks, query, key, value, _QUERIES, _KEYS, memory, y, maximum[:, :, 0], total[:, :, 0])
    return y, PositionAttentionCache(query, key, value, y, maximum, total)


def position_attention_backward(
    dy: np.ndarray, cache: Cache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.position_attention_backward`."""
    query, key, value, y, maximum, total = cache
    check_gradient("position_attention_backward", dy, y.shape, y.dtype)
    dquery, dkey, dvalue = (np.zeros(x.shape, x.dtype) for x in (query, key, value))
    _, pixels, inner_channels = query.shape
    keys = min(_BACKWARD_KEYS, pixels)
    blocks = -(-pixels // keys)
    together = max(1, min(blocks, _PARTS // query[0].size))
    means, factors = np.empty((2, pixels), query.dtype)
    parts = np.empty((together, pixels, inner_channels), query.dtype)
    memory = scratch(_BACKWARD_QUERIES * 2 * _BACKWARD_KEYS, value.dtype)
    for image in range(len(query)):
        _scale(pixels, dy[image], y[image], total[image, :, 0], means, factors)
        for group in range(0, blocks, together):
            members = min(together, blocks - group)
            _differentiate(
                members, dy[image], query[image], key[image], value[image], maximum[image, :, 0], means, factors,
                _BACKWARD_QUERIES, keys, group * keys, memory, parts, dkey[image], dvalue[image],
            )  # fmt: skip
            _add_parts(pixels, parts, members, dquery[image])
    return dquery, dkey, dvalue


@kernel
def _attend(block, query, key, value, queries, keys, memory, y, maximum, total):
    pixels, channels = y.shape[1:]
    blocks = -(-pixels // queries)
    image, first = block // blocks, block % blocks * queries
    last = min(first + queries, pixels)
    out, largest, sums = y[image, first:last], maximum[image, first:last], total[image, first:last]
    out[:] = 0
    largest[:] = -np.inf
    sums[:] = 0
    buffer, width = memory[get_thread_id()], gemm.width_of(y)
    transposed, end_of_queries = gemm.carve_panels(buffer, 0, query.shape[2], last - first, width)
    gemm.pack(query[image, first:last].T, transposed)
    for start in range(0, pixels, keys):
        stop = min(start + keys, pixels)
        weights, end = carve(buffer, end_of_queries, (stop - start, last - first))
        columns, end = gemm.carve_panels(buffer, end, stop - start, last - first, gemm.ROWS)
        values, end = gemm.carve_panels(buffer, end, stop - start, channels, width)
        rescale, end = carve(buffer, end, (last - first,))
        part, end = carve(buffer, end, (last - first,))
        gemm.multiply(key[image, start:stop], transposed, weights, False)  # so far energies
        _exponentiate(weights, largest, sums, rescale, part)
        for row in range(last - first):
            if rescale[row] != 1:
                for c in range(channels):
                    out[row, c] *= rescale[row]
        gemm.pack(weights, columns)
        gemm.pack(value[image, start:stop], values)
        gemm.multiply_transposed(columns, values, out, True)
    for row in range(last - first):
        for c in range(channels):
            out[row, c] /= sums[row]


@inner
def _exponentiate(energy, largest, sums, rescale, part):
    """``exp(energy − largest)`` in place for a tile ``(keys, queries)``, with the maxima and sums so far.

    Sums of earlier tiles were taken with smaller maxima: ``rescale`` is what they have to be multiplied by. The sum
    of a tile is a ``part`` of its own, since float32 loses digits in long sums.
    """
    keys, queries = energy.shape
    for q in range(queries):
        rescale[q] = largest[q]
        part[q] = 0
    for k in range(keys):
        energies = energy[k]
        for q in range(queries):
            largest[q] = energies[q] if energies[q] > largest[q] else largest[q]  # NaN comes back from exp
    for q in range(queries):
        rescale[q] = exp_up_to_zero(rescale[q] - largest[q])
    for k in range(keys):
        energies = energy[k]
        for q in range(queries):
            energies[q] = exp_up_to_zero(energies[q] - largest[q])
            part[q] += energies[q]
    for q in range(queries):
        sums[q] = rescale[q] * sums[q] + part[q]


@kernel
def _scale(q, dy, y, total, means, factors):
    mean = dy.dtype.type(0)
    for c in range(dy.shape[1]):
        mean += dy[q, c] * y[q, c]
    means[q] = mean  # of dattention under the attention, since y = attention @ value
    factors[q] = dy.dtype.type(1) / total[q]


@kernel
def _differentiate(
    member, dy, query, key, value, maximum, means, factors, queries, keys, first_key, memory, parts, dkey, dvalue
):
    pixels = len(dy)
    start = first_key + member * keys
    stop = min(start + keys, pixels)
    for first in range(0, pixels, queries):
        last = min(first + queries, pixels)
        weights, end = carve(memory[get_thread_id()], 0, (stop - start, last - first))
        denergy, end = carve(memory[get_thread_id()], end, (stop - start, last - first))
        blas.multiply(key[start:stop], query[first:last].T, weights, False)  # so far energies
        # attention = exp(energy − maximum) / total
        for k in range(stop - start):
            row, largest, factor = weights[k], maximum[first:last], factors[first:last]
            for q in range(last - first):
                row[q] = exp_up_to_zero(row[q] - largest[q]) * factor[q]
        # y = attention @ value
        blas.multiply(weights, dy[first:last], dvalue[start:stop], True)
        blas.multiply(value[start:stop], dy[first:last].T, denergy, False)  # so far dattention
        # attention = softmax(energy)
        for k in range(stop - start):
            row, drow, mean = weights[k], denergy[k], means[first:last]
            for q in range(last - first):
                drow[q] = row[q] * (drow[q] - mean[q])
        # energy = query @ keyᵀ
        blas.multiply(denergy.T, key[start:stop], parts[member, first:last], False)
        blas.multiply(denergy, query[first:last], dkey[start:stop], True)


@kernel
def _add_parts(q, parts, members, dquery):
    for member in range(members):
        for d in range(dquery.shape[1]):
            dquery[q, d] += parts[member, q, d]
