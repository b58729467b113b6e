"""Position attention in blocks of rows, without ever holding an N×N matrix.

One block of rows of the map is computed at a time, used and dropped, and computed again in the backward pass.
Blocks use :func:`scratch_bytes`, so memory grows with N and not with N². The kernels depend on the dtype:

- float32 and float64: a block of energies, ``rows × N``, is a product; kernels turn it into probabilities in place
  and, in the backward pass, probabilities and their gradient into the gradient of the energies.
- float16 and bfloat16: energies are float32 and never leave a multiprocessor:
  :mod:`~backends.cupy.attention_mma`.
"""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy import attention_mma
from backends.cupy.checks import checked, checked_gradient
from backends.cupy.gemm import gemm
from backends.cupy.launch import c_type, launch
from backends.cupy.row_blocks import block_height, row_blocks, scratch_bytes
from backends.cupy.softmax import softmax_rows
from reference.ops.checks import HALVES


class PositionAttentionCache(NamedTuple):
    query: cupy.ndarray  # (B, N, D)
    key: cupy.ndarray  # (B, N, D)
    value: cupy.ndarray  # (B, N, C)
    lse: cupy.ndarray | None = None  # (B, N), log2 Σ exp(energy) of each row, float32; for 16 bits only


def position_attention(
    query: cupy.ndarray, key: cupy.ndarray, value: cupy.ndarray
) -> tuple[cupy.ndarray, PositionAttentionCache]:
    """Every pixel gathers from all pixels: ``softmax(query·keyᵀ)·value``."""
    query, key, value = checked(
        "position_attention", query=(query, "B N D"), key=(key, "B N D"), value=(value, "B N C")
    )
    y = cupy.empty(value.shape, value.dtype)  # (B, N, C)
    if query.dtype.name in HALVES:
        lse = attention_mma.forward(query, key, value, y)
        return y, PositionAttentionCache(query, key, value, lse)
    (scratch,) = _scratch(query, blocks=1)
    for image in range(len(query)):
        for rows in row_blocks(query.shape[1], len(scratch)):
            attention = gemm(query[image, rows], key[image].T, scratch[: rows.stop - rows.start])  # (rows, N)
            softmax_rows(attention, attention)
            gemm(attention, value[image], y[image, rows])
    return y, PositionAttentionCache(query, key, value)


def position_attention_backward(
    dy: cupy.ndarray, cache: PositionAttentionCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray]:
    """From ``dy (B, N, C)``: ``dquery (B, N, D)``, ``dkey (B, N, D)`` and ``dvalue (B, N, C)``."""
    query, key, value, lse = cache
    dy = checked_gradient("position_attention_backward", dy, value.shape, value.dtype)
    if lse is not None:
        return attention_mma.backward(dy, query, key, value, lse)
    first_scratch, second_scratch = _scratch(query, blocks=2)
    dquery, dkey, dvalue = (cupy.empty(array.shape, array.dtype) for array in (query, key, value))
    pixels = query.shape[1]
    kernel = f"attention_rows_backward<{c_type(query)}, 512>"
    for image in range(len(query)):
        for rows in row_blocks(pixels, len(first_scratch)):
            count, later = rows.stop - rows.start, rows.start > 0
            # attention = softmax(query @ key.mT), y = attention @ value
            attention = gemm(query[image, rows], key[image].T, first_scratch[:count])  # (rows, N), so far energy
            denergy = gemm(dy[image, rows], value[image].T, second_scratch[:count])  # so far dattention
            launch("position_attention.cu", kernel, (count,), (512,), attention, denergy, pixels)
            gemm(attention.T, dy[image, rows], dvalue[image], accumulate=later)
            # energy = query @ key.mT
            gemm(denergy, key[image], dquery[image, rows])
            gemm(denergy.T, query[image, rows], dkey[image], accumulate=later)
    return dquery, dkey, dvalue


def _scratch(query: cupy.ndarray, *, blocks: int) -> cupy.ndarray:
    """Memory for ``blocks`` blocks ``(rows, N)`` of as many rows as fit; blocks have nearly the same height."""
    pixels = query.shape[1]
    height = block_height(pixels, scratch_bytes() // (blocks * pixels * query.itemsize))
    return cupy.empty((blocks, height, pixels), query.dtype)
