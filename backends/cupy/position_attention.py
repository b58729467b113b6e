"""Position attention in blocks of rows: at no time is there an N×N matrix.

A block of rows of the energy, ``rows × N``, is one product with the keys; a kernel turns it into probabilities in
place, and a second product gathers the values. Only query, key and value are kept: on the way back each block is
computed again, and one kernel makes probabilities of the energies and the energies' gradient of the probabilities'.
The two blocks of the way back share :data:`SCRATCH_BYTES`, so memory grows with N and never with N².
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cupy

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.gemm import gemm
from backends.cupy.launch import c_type, launch
from backends.cupy.softmax import softmax_rows

#: What the blocks may take in all; at N = 9216 in float32 that is a quarter of one N×N matrix.
SCRATCH_BYTES = 96 * 10**6


class PositionAttentionCache(NamedTuple):
    query: cupy.ndarray  # (B, N, D)
    key: cupy.ndarray  # (B, N, D)
    value: cupy.ndarray  # (B, N, C)


def position_attention(
    query: cupy.ndarray, key: cupy.ndarray, value: cupy.ndarray
) -> tuple[cupy.ndarray, PositionAttentionCache]:
    """Every pixel gathers from all pixels: ``softmax(query·keyᵀ)·value``."""
    query, key, value = checked(
        "position_attention", query=(query, "B N D"), key=(key, "B N D"), value=(value, "B N C")
    )
    y = cupy.empty_like(value)  # (B, N, C)
    (scratch,) = _scratch(query, blocks=1)
    for image in range(len(query)):
        for rows in _row_blocks(query.shape[1], len(scratch)):
            attention = gemm(query[image, rows], key[image].T, scratch[: rows.stop - rows.start])  # (rows, N)
            softmax_rows(attention, attention)
            gemm(attention, value[image], y[image, rows])
    return y, PositionAttentionCache(query, key, value)


def position_attention_backward(
    dy: cupy.ndarray, cache: PositionAttentionCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray]:
    """From ``dy (B, N, C)``: ``dquery (B, N, D)``, ``dkey (B, N, D)`` and ``dvalue (B, N, C)``."""
    query, key, value = cache
    dy = checked_gradient("position_attention_backward", dy, value.shape, value.dtype)
    first_scratch, second_scratch = _scratch(query, blocks=2)
    dquery, dkey, dvalue = cupy.empty_like(query), cupy.empty_like(key), cupy.empty_like(value)
    pixels = query.shape[1]
    kernel = f"attention_rows_backward<{c_type(query)}, 512>"
    for image in range(len(query)):
        for rows in _row_blocks(pixels, len(first_scratch)):
            count, later = rows.stop - rows.start, rows.start > 0
            # attention = softmax(query @ key.mT), y = attention @ value
            attention = gemm(query[image, rows], key[image].T, first_scratch[:count])  # (rows, N), still the energy
            denergy = gemm(dy[image, rows], value[image].T, second_scratch[:count])  # still dattention
            launch("position_attention.cu", kernel, (count,), (512,), attention, denergy, pixels)
            gemm(attention.T, dy[image, rows], dvalue[image], accumulate=later)
            # energy = query @ key.mT
            gemm(denergy, key[image], dquery[image, rows])
            gemm(denergy.T, query[image, rows], dkey[image], accumulate=later)
    return dquery, dkey, dvalue


def _scratch(query: cupy.ndarray, *, blocks: int) -> cupy.ndarray:
    """Room for ``blocks`` blocks ``(rows, N)``, as many rows as fit, all blocks of nearly the same height."""
    pixels = query.shape[1]
    fitting = max(SCRATCH_BYTES // (blocks * pixels * query.itemsize), 1)
    passes = -(-pixels // fitting)
    return cupy.empty((blocks, -(-pixels // passes), pixels), query.dtype)


def _row_blocks(pixels: int, rows: int) -> Iterator[slice]:
    for start in range(0, pixels, rows):
        yield slice(start, min(start + rows, pixels))
