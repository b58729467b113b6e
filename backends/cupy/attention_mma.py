"""Position attention in float16 and bfloat16: kernels between three large products of cuBLAS.

=======================  ==============================  ==========================================================
what                     how                             memory
=======================  ==============================  ==========================================================
log Σ exp of each row    a pass over query and key       (B, N), cached
rows of the map          another, into a block           (rows, N), then its product with the values
dattention = dy·valueᵀ   a product, into a block         (rows, N)
δ of each row            a pass over query, key, block   (rows,)
dkey                     another                         sums in float32
dquery                   another; the block becomes the  sums in float32, then the block's product with dy: dvalue
                         map
=======================  ==============================  ==========================================================

Each pass computes the energies again, from 64 channels where the products have 512: that costs less than to store
them. In the backward pass, ``δ = Σ_j attention·dattention`` of a row is a sum over the block itself. It is equal to
``Σ_c dy·y``, which is much cheaper (Dao et al., FlashAttention, NeurIPS 2022, equation 4), but whose rounding does
not cancel that of dattention in rows that attend to a single pixel, as those of a trained DANet may.
"""

from __future__ import annotations

import cupy
import numpy as np

from backends.cupy.gemm import gemm
from backends.cupy.launch import c_type, launch
from backends.cupy.row_blocks import block_height, row_blocks, scratch_bytes
from reference.ops.checks import OpError

_FILE = "attention_mma.cu"
_TILE, _THREADS = 64, 128  # as in the kernels
_MOST_CHANNELS = 128  # of query and key
_BLOCKS = 1024  # of threads that fill a GPU; half as many if each writes sums of its own


def forward(query: cupy.ndarray, key: cupy.ndarray, value: cupy.ndarray, y: cupy.ndarray) -> cupy.ndarray:
    """Fill ``y (B, N, C)``; return ``lse (B, N)``, float32, to the base 2."""
    batch, pixels, channels = query.shape
    types = _types(query)
    tiles = _tiles(pixels)
    columns = _columns(pixels)
    height = block_height(pixels, scratch_bytes() // (columns * query.itemsize))
    scratch = cupy.empty((height, columns), query.dtype)
    parts = _parts(tiles, tiles)
    largest, sums = cupy.empty((2, parts, pixels), np.float32)
    lse = cupy.empty((batch, pixels), np.float32)
    for image in range(batch):
        launch(
            _FILE, f"attention_normalisers<{types}>", (tiles, parts), (_THREADS,),
            query[image], key[image], largest, sums, pixels, channels,
        )
        launch(
            _FILE, "attention_lse<float>", (-(-pixels // 256),), (256,), largest, sums, lse[image], pixels, parts
        )
        for rows in row_blocks(pixels, height):
            count = rows.stop - rows.start
            launch(
                _FILE, f"attention_rows<{types}>", (_tiles(count), _parts(_tiles(count), tiles)), (_THREADS,),
                query[image, rows], key[image], lse[image, rows], scratch, count, pixels, channels, columns,
            )
            gemm(scratch[:count, :pixels], value[image], y[image, rows])
    return lse


def backward(
    dy: cupy.ndarray,
    query: cupy.ndarray,
    key: cupy.ndarray,
    value: cupy.ndarray,
    lse: cupy.ndarray,
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray]:
    """``dquery``, ``dkey`` and ``dvalue``, of the shapes of ``query``, ``key`` and ``value``."""
    batch, pixels, channels = query.shape
    types = _types(query)
    tiles = _tiles(pixels)
    columns = _columns(pixels)
    key_parts = _parts(tiles, tiles, _BLOCKS // 2)
    sums_bytes = 4 * (value.size // batch + key_parts * pixels * channels)
    room = max(scratch_bytes() - sums_bytes, scratch_bytes() // 2)
    height = block_height(pixels, room // (columns * query.itemsize))
    query_parts = _parts(_tiles(height), tiles, _BLOCKS // 2)
    scratch = cupy.empty((height, columns), query.dtype)  # first: it fits into what the forward pass has freed
    dkeys = cupy.empty((key_parts, pixels, channels), np.float32)
    dqueries = cupy.empty((query_parts * height * channels,), np.float32)
    dvalues = cupy.empty(value.shape[1:], np.float32)  # of an image, while blocks add to it
    dquery, dkey, dvalue = (cupy.empty(array.shape, array.dtype) for array in (query, key, value))
    deltas, delta = cupy.empty((query_parts * height,), np.float32), cupy.empty((height,), np.float32)
    for image in range(batch):
        for rows in row_blocks(pixels, height):
            count, later = rows.stop - rows.start, rows.start > 0
            block = scratch[:count, :pixels]
            # y = attention @ value
            gemm(dy[image, rows], value[image].T, block)  # dattention
            inputs = query[image, rows], key[image], lse[image, rows]
            sizes = count, pixels, channels, columns
            tall = _tiles(count), query_parts
            launch(_FILE, f"attention_delta<{types}>", tall, (_THREADS,), *inputs, scratch, deltas, *sizes)
            _sum_parts(deltas, delta[:count], query_parts)
            # energy = query @ key.mT
            launch(
                _FILE, f"attention_dkey<{types}>", (tiles, key_parts), (_THREADS,),
                *inputs, delta, scratch, dkeys, *sizes, later,
            )
            launch(
                _FILE, f"attention_dquery<{types}>", tall, (_THREADS,), *inputs, delta, scratch, dqueries, *sizes
            )
            _sum_parts(dqueries, dquery[image, rows], query_parts)
            # y = attention @ value
            gemm(block.T, dy[image, rows], dvalues, accumulate=later)  # the block holds the attention by now
        _sum_parts(dkeys, dkey[image], key_parts)
        dvalue[image] = dvalues
    return dquery, dkey, dvalue


def _sum_parts(partial: cupy.ndarray, out: cupy.ndarray, parts: int) -> None:
    launch(_FILE, f"sum_parts<{c_type(out)}>", (-(-out.size // 256),), (256,), partial, out, out.size, parts)


def _types(query: cupy.ndarray) -> str:
    """The arguments of the kernels' templates: dtype, and channels in steps of the matrix units."""
    channels = query.shape[2]
    if channels > _MOST_CHANNELS:
        raise OpError(
            f"position_attention: query has {channels} channels, wants at most {_MOST_CHANNELS} in {query.dtype} "
            "on this backend."
        )
    return f"{c_type(query)}, {next(width for width in (16, 32, 64, 128) if width >= channels)}"


def _tiles(rows: int) -> int:
    return -(-rows // _TILE)


def _parts(tiles: int, longest: int, blocks: int = _BLOCKS) -> int:
    """The number of parts of the other axis, of ``longest`` tiles, with which ``tiles`` tiles make ``blocks``."""
    return max(1, min(longest, blocks // tiles))


def _columns(pixels: int) -> int:
    """The width of a block: kernels write 8 values at a time."""
    return -(-pixels // 8) * 8
