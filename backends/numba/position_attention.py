"""Position attention in tiles of queries × keys, by the method of :mod:`backends.numpy.position_attention`."""

from __future__ import annotations

import numpy as np
from numba import get_thread_id, prange

from backends.contract import Cache
from backends.numba import blas, gemm
from backends.numba.compile import inner, kernel, scratch
from backends.numba.exp import exp_up_to_zero
from backends.numba.windows import carve
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
    keys = min(_BACKWARD_KEYS, pixels)
    together = max(1, min(-(-pixels // keys), _PARTS // query[0].size))
    rows = np.empty((2, pixels), query.dtype)
    parts = np.empty((together, pixels, inner_channels), query.dtype)
    memory = scratch(_BACKWARD_QUERIES * 2 * _BACKWARD_KEYS, value.dtype)
    for image in range(len(query)):
        _differentiate(
            dy[image], query[image], key[image], value[image], y[image], maximum[image, :, 0], total[image, :, 0],
            _BACKWARD_QUERIES, keys, memory, rows, parts, dquery[image], dkey[image], dvalue[image],
        )  # fmt: skip
    return dquery, dkey, dvalue


@kernel
def _attend(query, key, value, queries, keys, memory, y, maximum, total):
    batch, pixels, channels = y.shape
    blocks = -(-pixels // queries)
    for block in prange(batch * blocks):
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
    rescale[:] = largest
    part[:] = 0
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
def _differentiate(
    dy, query, key, value, y, maximum, total, queries, keys, memory, rows, parts, dquery, dkey, dvalue
):
    pixels, channels = y.shape
    means, factors = rows[0], rows[1]
    for q in prange(pixels):
        mean = dy.dtype.type(0)
        for c in range(channels):
            mean += dy[q, c] * y[q, c]
        means[q] = mean  # of dattention under the attention, since y = attention @ value
        factors[q] = dy.dtype.type(1) / total[q]
    blocks = -(-pixels // keys)
    for group in range(0, blocks, len(parts)):
        members = min(len(parts), blocks - group)
        for member in prange(members):
            start = (group + member) * keys
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
        for q in prange(pixels):
            for member in range(members):
                for d in range(dquery.shape[1]):
                    dquery[q, d] += parts[member, q, d]
