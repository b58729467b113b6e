"""Products of tall matrices, in blocks of the result for the threads, which depend on the shapes alone."""

from __future__ import annotations

import numpy as np
from numba import get_thread_id, prange

from backends.numba import gemm
from backends.numba.compile import inner, kernel, scratch, workspace
from backends.numba.constants import Constant
from backends.numba.finish import Finish, finish_pixel
from backends.numba.windows import carve

#: The fewest and most rows of a block, and the number of blocks where these allow it.
_FEWEST_ROWS, _MOST_ROWS, _BLOCKS = 96, 480, 32
#: Rows of a block of a transposed product. Where the result has fewer blocks than ``_PARTS``, sums over parts of
#: the rows of x and y are taken by themselves.
_TRANSPOSED_ROWS, _PARTS = 252, 16


def multiply(x: np.ndarray, weight: np.ndarray, *, finish: Finish | None = None) -> np.ndarray:
    """``x (M, K) · weight (…, N)`` and the epilogue: ``(M, N)``; for the weight, see :func:`packed`."""
    rows, columns = len(x), weight.shape[-1]
    y = np.empty((rows, columns), x.dtype)
    across = -(-columns // gemm.COLUMNS)
    down = max(1, min(_BLOCKS // across, rows // _FEWEST_ROWS), rows // _MOST_ROWS)
    _multiply(x, packed(weight), down, finish is not None, finish or Finish.of(weight), y)
    return y


def packed(weight: np.ndarray) -> np.ndarray:
    """The panels of ``weight (…, N)``, whose other axes are the depth, or of a transposed view (K, N).

    Those of a constant weight are stored; others are in memory that the next call overwrites.
    """
    matrix = np.asarray(weight) if weight.ndim == 2 else np.asarray(weight).reshape(-1, weight.shape[-1])
    shape = gemm.panels_of(matrix.shape, matrix.dtype)
    size = int(np.prod(shape))

    def pack(memory: np.ndarray) -> np.ndarray:
        panels = memory.reshape(shape)
        transposed = matrix.strides[0] < matrix.strides[1]
        _pack(matrix.T if transposed else matrix, transposed, panels)
        return panels

    stored = None
    if isinstance(weight, Constant):
        stored = weight.derive("panels", size, lambda: pack(np.empty(size, matrix.dtype)))
    return pack(workspace(size, matrix.dtype)) if stored is None else stored


def multiply_transposed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``xᵀ (K, M) · y (M, N)``: ``(K, N)``."""
    product = np.zeros((x.shape[1], y.shape[1]), x.dtype)
    add_transposed(x, y, product)
    return product


def add_transposed(x: np.ndarray, y: np.ndarray, product: np.ndarray) -> None:
    """``product (K, N) += xᵀ (K, M) · y (M, N)``, in place."""
    blocks = -(-product.shape[0] // _TRANSPOSED_ROWS) * -(-product.shape[1] // gemm.COLUMNS)
    parts = max(1, min(_PARTS // blocks, len(x) // gemm.DEPTH))
    sums = np.empty((parts - 1, *product.shape), x.dtype)
    memory = scratch(gemm.DEPTH * (_TRANSPOSED_ROWS + gemm.ROWS + gemm.COLUMNS), x.dtype)
    _add_transposed(x, y, _TRANSPOSED_ROWS, memory, sums, product)


@kernel
def _pack(weight, transposed, panels):
    width = panels.shape[2]
    for p in prange(len(panels)):
        left = p * width
        if transposed:
            gemm.pack(weight.T[:, left : left + width], panels[p : p + 1])
        else:
            gemm.pack(weight[:, left : left + width], panels[p : p + 1])


@kernel
def _multiply(x, panels, down, finishes, finish, y):
    rows, columns = y.shape
    width = panels.shape[2]
    tiles, across = -(-rows // gemm.ROWS), -(-columns // gemm.COLUMNS)
    down = min(tiles, -(-down // 4) * 4)  # so that two or four threads have equally many
    for block in prange(down * across):
        row, left = block // across, block % across * gemm.COLUMNS
        top, bottom = row * tiles // down * gemm.ROWS, min(rows, (row + 1) * tiles // down * gemm.ROWS)
        right = min(columns, left + gemm.COLUMNS)
        part = y[top:bottom, left:right]
        gemm.multiply(x[top:bottom], panels[left // width : -(-right // width)], part, False)
        if finishes:
            for pixel in range(len(part)):
                finish_pixel(part[pixel], top + pixel, left, finish, part[pixel])


@kernel
def _add_transposed(x, y, height, memory, sums, product):
    """Add to ``product`` by blocks of this height: the first part of x and y at once, others by way of ``sums``."""
    rows, columns = product.shape
    parts, across = len(sums) + 1, -(-columns // gemm.COLUMNS)
    blocks = -(-rows // height) * across
    for block in prange(blocks * parts):
        part = block // blocks
        top, left = block % blocks // across * height, block % across * gemm.COLUMNS
        bottom, right = min(rows, top + height), min(columns, left + gemm.COLUMNS)
        first, last = part * len(x) // parts, (part + 1) * len(x) // parts
        out = product if part == 0 else sums[part - 1]
        _multiply_transposed(
            x[first:last, top:bottom], y[first:last, left:right], memory[get_thread_id()], part == 0,
            out[top:bottom, left:right],
        )  # fmt: skip
    for part in range(parts - 1):
        product += sums[part]


@inner
def _multiply_transposed(x, y, memory, add, out):
    """``out = xᵀ·y``, or with ``add`` ``out += xᵀ·y``, for as many rows of x and y at a time as stay in a cache."""
    width = gemm.width_of(out)
    for start in range(0, len(x), gemm.DEPTH):
        stop = min(len(x), start + gemm.DEPTH)
        columns, end = carve(memory, 0, (-(-x.shape[1] // gemm.ROWS), stop - start, gemm.ROWS))
        panels, _ = carve(memory, end, (-(-y.shape[1] // width), stop - start, width))
        gemm.pack(x[start:stop], columns)
        gemm.pack(y[start:stop], panels)
        gemm.multiply_transposed(columns, panels, out, add or start > 0)
