"""Products of tall matrices, in blocks of the result for the threads, which depend on the shapes alone."""

from __future__ import annotations

import numpy as np
from numba import get_thread_id

from backends.numba import gemm
from backends.numba.compile import aligned, kernel, scratch, workspace
from backends.numba.constants import Constant
from backends.numba.finish import Finish, finish_pixel

#: The fewest and most rows of a block, and the number of blocks where these allow it.
_FEWEST_ROWS, _MOST_ROWS, _BLOCKS = 96, 480, 32
#: Most rows of a block of a transposed product. Where the result has fewer blocks than ``_PARTS``, sums over parts
#: of the rows of x and y are taken by themselves.
_TRANSPOSED_ROWS, _PARTS = 264, 32
#: With so many rows, packing the weights takes less than a hundredth of the time, and the panels are not stored.
_MANY_ROWS = 1 << 14


def multiply(
    x: np.ndarray, weight: np.ndarray, *, finish: Finish | None = None, overwritten: np.ndarray | None = None
) -> np.ndarray:
    """``x (M, K) · weight (…, N)`` and the epilogue: ``(M, N)``; for the weight, see :func:`packed`.

    If the residual of the epilogue is ``overwritten (M, N)``, the product is added to it in place.
    """
    rows, columns = len(x), weight.shape[-1]
    if finish is None:
        finish = Finish.of(weight)
    y, adds, finishes = overwritten, True, not finish.is_trivial
    if y is None:
        y, adds = np.empty((rows, columns), x.dtype), False
    else:
        finish = finish._replace(residual=y[:0])
    across = -(-columns // gemm.COLUMNS)
    down = max(1, min(_BLOCKS // across, rows // _FEWEST_ROWS), rows // _MOST_ROWS)
    down = min(-(-rows // gemm.ROWS), -(-down // 4) * 4)  # so that two or four threads have equally many
    panels = packed(weight, keep=rows < _MANY_ROWS)
    _multiply(down * across, x, panels, down, adds, finishes, *finish, y)
    return y


def packed(weight: np.ndarray, *, keep: bool = True) -> np.ndarray:
    """The panels of ``weight (…, N)``, whose other axes are the depth, or of a transposed view (K, N).

    Those of a constant weight are stored if ``keep``; others are in memory that the next call overwrites.
    """
    matrix = np.asarray(weight) if weight.ndim == 2 else np.asarray(weight).reshape(-1, weight.shape[-1])
    shape = gemm.panels_of(matrix.shape, matrix.dtype)
    size = int(np.prod(shape))

    def pack(memory: np.ndarray) -> np.ndarray:
        panels = memory.reshape(shape)
        transposed = matrix.strides[0] < matrix.strides[1]
        _pack(len(panels), matrix.T if transposed else matrix, transposed, panels)
        return panels

    stored = None
    if keep and isinstance(weight, Constant):
        stored = weight.derive("panels", size, lambda: pack(aligned(size, matrix.dtype)))
    return pack(workspace(size, matrix.dtype)) if stored is None else stored


def multiply_transposed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``xᵀ (K, M) · y (M, N)``: ``(K, N)``."""
    height, sums, product = parts_of_product(x.shape[1], y)
    memory = scratch(gemm.DEPTH * (height + gemm.ROWS + gemm.COLUMNS), x.dtype)
    blocks = blocks_of_product(height, product) * (len(sums) + 1)
    _multiply_transposed(blocks, x, y, height, memory, sums, product)
    return add_in_order(sums, product)


def parts_of_product(rows: int, y: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """For a transposed product of so many ``rows`` with ``y (M, N)``: the rows of its blocks, and memory for it.

    The first part of M is summed in the product, the others in ``sums (parts − 1, rows, N)``.
    """
    down = -(-rows // _TRANSPOSED_ROWS)
    height = -(-rows // (down * gemm.ROWS)) * gemm.ROWS
    product = np.empty((rows, y.shape[1]), y.dtype)
    parts = max(1, min(_PARTS // blocks_of_product(height, product), len(y) // gemm.DEPTH))
    return height, np.empty((parts - 1, *product.shape), y.dtype), product


def blocks_of_product(height: int, product: np.ndarray) -> int:
    """The number of blocks of so many rows, and of the columns whose panels stay in a cache."""
    return -(-len(product) // height) * -(-product.shape[1] // gemm.COLUMNS)


def add_in_order(sums: np.ndarray, product: np.ndarray) -> np.ndarray:
    """``product + sums[0] + sums[1] + …``, in this order and in place."""
    if len(sums):
        _add_in_order(len(product), sums, product)
    return product


@kernel
def _pack(p, weight, transposed, panels):
    width = panels.shape[2]
    left = p * width
    if transposed:
        gemm.pack(weight.T[:, left : left + width], panels[p : p + 1])
    else:
        gemm.pack(weight[:, left : left + width], panels[p : p + 1])


@kernel
def _multiply(block, x, panels, down, adds, finishes, bias, residual, least, y):
    rows, columns = y.shape
    width = panels.shape[2]
    tiles, across = -(-rows // gemm.ROWS), -(-columns // gemm.COLUMNS)
    row, left = block // across, block % across * gemm.COLUMNS
    top, bottom = row * tiles // down * gemm.ROWS, min(rows, (row + 1) * tiles // down * gemm.ROWS)
    right = min(columns, left + gemm.COLUMNS)
    part = y[top:bottom, left:right]
    gemm.multiply(x[top:bottom], panels[left // width : -(-right // width)], part, adds)
    if finishes:
        for pixel in range(len(part)):
            finish_pixel(part[pixel], top + pixel, left, bias, residual, least, part[pixel])


@kernel
def _multiply_transposed(block, x, y, height, memory, sums, product):
    """The product by blocks of this height, and by parts of the rows of x and y."""
    rows, columns = product.shape
    width = gemm.width_of(product)
    parts, across = len(sums) + 1, -(-columns // gemm.COLUMNS)
    blocks = -(-rows // height) * across
    part = block // blocks
    top, left = block % blocks // across * height, block % across * gemm.COLUMNS
    bottom, right = min(rows, top + height), min(columns, left + gemm.COLUMNS)
    first, last = part * len(x) // parts, (part + 1) * len(x) // parts
    out = product[top:bottom, left:right] if part == 0 else sums[part - 1, top:bottom, left:right]
    for start in range(first, last, gemm.DEPTH):  # so many rows of x and y stay in a cache
        stop = min(last, start + gemm.DEPTH)
        buffer = memory[get_thread_id()]
        tiles, end = gemm.carve_panels(buffer, 0, stop - start, bottom - top, gemm.ROWS)
        panels, _ = gemm.carve_panels(buffer, end, stop - start, right - left, width)
        gemm.pack(x[start:stop, top:bottom], tiles)
        gemm.pack(y[start:stop, left:right], panels)
        gemm.multiply_transposed(tiles, panels, out, start > first)


@kernel
def _add_in_order(row, sums, product):
    total = product[row]
    for part in range(len(sums)):
        more = sums[part, row]
        for column in range(len(total)):
            total[column] += more[column]
