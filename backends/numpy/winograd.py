r"""3×3 convolutions of stride 1 by Winograd's minimal filtering: F(2×2, 3×3) of Lavin and Gray, CVPR 2016.

Two outputs y of a filter with three taps g need four products of inputs d, not six:

.. math:: y_0 = m_0 + m_1 + m_2, \quad y_1 = m_1 - m_2 + m_3 \quad\text{with}\quad m_n = v_n u_n,

          v = (d_0 - d_2,\; d_1 + d_2,\; d_2 - d_1,\; d_3 - d_1), \quad
          u = (g_0,\; \tfrac{g_0 + g_1 + g_2}{2},\; \tfrac{g_0 - g_1 + g_2}{2},\; g_2)

Along rows and columns, a tile of 2×2 outputs then needs 16 products instead of 36. With channels, these are
products of matrices with a row for each tile: BLAS computes 2.25 times less, for a few additions per pixel. Since
the transforms have only sums, differences and halves, float32 loses about one bit.

Dilation d interleaves d × d images. No pixels are moved for that: reshaped to ``(tiles, 2, d)`` along each axis,
the padded image has the tiles of all of them, and along the columns, d and the channels are one axis in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from backends.numpy.threads import for_each
from backends.numpy.windows import window

# v_n = operation(d_a, d_b)
_INPUTS = ((np.subtract, 0, 2), (np.add, 1, 2), (np.subtract, 2, 1), (np.subtract, 3, 1))
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # u = G g
_GG = np.kron(_G, _G)  # (16, 9): along rows and columns
_FLIPPED = (3, 1, 2, 0)  # u of the flipped taps is u in this order

#: Tiles in a block, about: enough rows for fast products, few enough to stay in the cache.
_TILES, _VALUES = 512, 1 << 17
#: Values of x and dy together that are transformed at a time for the gradient of the weights.
_GRADIENT_VALUES = 1 << 22


class Block(NamedTuple):
    """Some images with all their rows of tiles, or one image with some of them."""

    images: slice
    first: int
    last: int


class Tiling(NamedTuple):
    """How tiles of ``2·dilation`` by ``2·dilation`` pixels cover the outputs."""

    batch: int
    height: int
    width: int
    dilation: int

    @property
    def rows(self) -> int:
        return -(-self.height // (2 * self.dilation))

    @property
    def columns(self) -> int:
        return -(-self.width // (2 * self.dilation))

    def blocks(self, tiles: int) -> list[Block]:
        """Cut the batch into blocks of about ``tiles`` of the 2×2 tiles."""
        per_row = self.columns * self.dilation**2
        images = tiles // (per_row * self.rows)
        if images:
            return [Block(slice(b, b + images), 0, self.rows) for b in range(0, self.batch, images)]
        bands = -(-self.rows * per_row // tiles)
        height = -(-self.rows // bands)
        return [
            Block(slice(b, b + 1), first, min(first + height, self.rows))
            for b in range(self.batch)
            for first in range(0, self.rows, height)
        ]

    def cut(self, x: np.ndarray, block: Block, *, padding: int = 0, margin: int = 0) -> np.ndarray:
        """The part of ``x`` in ``block``, padded: ``(images, rows + margin, 2, d, columns + margin, 2, d·C)``."""
        d = self.dilation
        rows, columns = block.last - block.first + margin, self.columns + margin
        part = window(x[block.images], 2 * d * block.first - padding, -padding, 2 * d * rows, 2 * d * columns)
        return part.reshape(len(part), rows, 2, d, columns, 2, d * x.shape[3])


def pays(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int,
    padding: int,
    dilation: int,
    *,
    tile: int = 2,
) -> bool:
    """Whether this convolution can be computed here and is faster so, borders of tiles included.

    Tiles have ``tile`` × ``tile`` outputs. If ``SEGATTN_WINOGRAD`` is 0 in the environment, the answer is no.
    """
    if weight_shape[:2] != (3, 3) or stride != 1 or padding > 2 * dilation or min(weight_shape[2:]) < 32:
        return False
    grow = 2 * (padding - dilation)
    sizes = [length + grow for length in x_shape[1:3]]
    tiles = math.prod(dilation * -(-size // (tile * dilation)) for size in sizes)
    return (tile + 2) ** 2 * tiles < 0.8 * 9 * math.prod(sizes) and os.environ.get("SEGATTN_WINOGRAD") != "0"


def convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, padding: int, dilation: int
) -> np.ndarray:
    """Convolve ``x (B, H, W, Ci)`` with ``weight (3, 3, Ci, Co)``: ``(B, H', W', Co)``."""
    return _convolve(x, _transform(weight), bias, padding, dilation)


def input_gradient(dy: np.ndarray, weight: np.ndarray, *, padding: int, dilation: int) -> np.ndarray:
    """From ``dy (B, H', W', Co)``: ``dx (B, H, W, Ci)``, the convolution of dy with the flipped taps."""
    u = _transform(weight)
    flipped = [[u[i][j].T for j in _FLIPPED] for i in _FLIPPED]
    return _convolve(dy, flipped, None, 2 * dilation - padding, dilation)


def weight_gradient(x: np.ndarray, dy: np.ndarray, *, padding: int, dilation: int) -> np.ndarray:
    """From ``x (B, H, W, Ci)`` and ``dy (B, H', W', Co)``: ``dweight (3, 3, Ci, Co)``."""
    tiling = _tiling(x.shape, padding, dilation)
    channels, outputs = x.shape[3], dy.shape[3]
    du = np.zeros((4, 4, channels, outputs), x.dtype)

    for block in tiling.blocks(max(_TILES, _GRADIENT_VALUES // (4 * (channels + outputs)))):
        d = tiling.cut(x, block, padding=padding, margin=1)
        e = tiling.cut(dy, block)
        for_each(partial(_add_weight_gradient, du, d, e), range(4))

    # u = GG g
    dweight = np.empty((3, 3, channels, outputs), x.dtype)
    gg, du = _GG.T.astype(x.dtype), du.reshape(16, -1)
    for_each(lambda i: np.matmul(gg[3 * i : 3 * i + 3], du, out=dweight[i].reshape(3, -1)), range(3))
    return dweight


def _add_weight_gradient(du: np.ndarray, d: np.ndarray, e: np.ndarray, i: int) -> None:
    """Add the contribution of the tiles ``d`` of x and ``e`` of dy to ``du[i]``: ``Σ v·dm``, over tiles."""
    columns = _input_columns(_input(i, d[:, :-1, 0], d[:, :-1, 1], d[:, 1:, 0], d[:, 1:, 1]))
    dm_row = _output_gradient(i, e[:, :, 0], e[:, :, 1])
    v = np.empty(columns[0].shape, d.dtype)
    dm = np.empty(dm_row[..., 0, :].shape, d.dtype)
    for j in range(4):
        _input(j, *columns, out=v)
        _output_gradient(j, dm_row[..., 0, :], dm_row[..., 1, :], out=dm)
        du[i, j] += v.reshape(-1, du.shape[2]).T @ dm.reshape(-1, du.shape[3])


def _convolve(
    x: np.ndarray, u: Sequence[Sequence[np.ndarray]], bias: np.ndarray | None, padding: int, dilation: int
) -> np.ndarray:
    tiling = _tiling(x.shape, padding, dilation)
    channels, outputs = u[0][0].shape
    y = np.empty((tiling.batch, tiling.height, tiling.width, outputs), x.dtype)

    def compute(block: Block) -> None:
        d = tiling.cut(x, block, padding=padding, margin=1)
        tiles = (len(d), block.last - block.first, dilation, tiling.columns)
        v = np.empty((*tiles, dilation * channels), x.dtype)
        m = np.empty((4, *tiles, dilation * outputs), x.dtype)
        row = np.empty((*tiles, 2, dilation * outputs), x.dtype)
        tiles_of_y = np.empty((*tiles[:2], 2, *tiles[2:], 2, dilation * outputs), x.dtype)
        for i in range(4):
            columns = _input_columns(_input(i, d[:, :-1, 0], d[:, :-1, 1], d[:, 1:, 0], d[:, 1:, 1]))
            for j in range(4):
                _input(j, *columns, out=v)
                np.matmul(v.reshape(-1, channels), u[i][j], out=m[j].reshape(-1, outputs))
            np.add(m[0], m[1], out=row[..., 0, :])
            row[..., 0, :] += m[2]
            np.subtract(m[1], m[2], out=row[..., 1, :])
            row[..., 1, :] += m[3]
            _add_output_row(i, row, tiles_of_y[:, :, 0], tiles_of_y[:, :, 1])

        first, height = 2 * dilation * block.first, 2 * dilation * tiles[1]
        part = y[block.images, first : first + height]
        inside = tiles_of_y.reshape(len(d), height, -1, outputs)[:, : part.shape[1], : part.shape[2]]
        if bias is None:
            part[:] = inside
        else:
            np.add(inside, bias, out=part)

    for_each(compute, tiling.blocks(max(_TILES, _VALUES // max(channels, outputs))))
    return y


def _tiling(x_shape: tuple[int, ...], padding: int, dilation: int) -> Tiling:
    batch, height, width, _ = x_shape
    return Tiling(batch, height + 2 * (padding - dilation), width + 2 * (padding - dilation), dilation)


def _transform(weight: np.ndarray) -> list[list[np.ndarray]]:
    """``u = G g Gᵀ`` of the weights ``(3, 3, Ci, Co)``: 4 × 4 matrices ``(Ci, Co)``."""
    channels, outputs = weight.shape[2:]
    u = np.empty((4, 4, channels, outputs), weight.dtype)
    taps = weight.reshape(9, -1)
    gg = _GG.astype(weight.dtype)

    def transform(i: int) -> None:
        np.matmul(gg[4 * i : 4 * i + 4], taps, out=u[i].reshape(4, -1))

    for_each(transform, range(4))
    return [list(row) for row in u]


def _input(n: int, *d: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``v_n`` of the four inputs d."""
    operation, a, b = _INPUTS[n]
    return operation(d[a], d[b], out=out)


def _input_columns(d: np.ndarray) -> tuple[np.ndarray, ...]:
    """The four inputs of every tile along the columns of ``(…, columns + 1, 2, d·C)``."""
    return d[..., :-1, 0, :], d[..., :-1, 1, :], d[..., 1:, 0, :], d[..., 1:, 1, :]


def _output_gradient(n: int, dy_0: np.ndarray, dy_1: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``dm_n`` of the gradients of the two outputs ``y_0 = m_0 + m_1 + m_2`` and ``y_1 = m_1 - m_2 + m_3``."""
    if n == 1:
        return np.add(dy_0, dy_1, out=out)
    if n == 2:
        return np.subtract(dy_0, dy_1, out=out)
    dm = dy_0 if n == 0 else dy_1
    if out is not None:
        out[:] = dm
    return dm


def _add_output_row(n: int, m: np.ndarray, y_0: np.ndarray, y_1: np.ndarray) -> None:
    """Add ``m_n`` to the two outputs; ``m_0`` and ``m_1`` start them."""
    if n == 0:
        y_0[:] = m
    elif n == 1:
        y_0 += m
        y_1[:] = m
    elif n == 2:
        y_0 += m
        y_1 -= m
    else:
        y_1 += m
