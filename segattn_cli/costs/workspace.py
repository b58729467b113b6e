"""What the convolutions and attentions of the backend ``numpy`` need while they run, in values.

They cut their work into blocks, of which each thread has one in hand. A block has a number of values that does not
grow with the image, so this matters for small images and many threads; but Winograd's filtering also transforms all
weights. Functions here say how much there is at once beside what goes in and what comes out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from backends.numpy import winograd

#: Values in a block: of patches, of a map, of tiles that are filtered.
PATCHES, BLOCK, TILED = 1 << 19, 1 << 17, 1 << 17
#: Tiles in a block at least; values of x and dy that are transformed at a time for the gradient of the weights.
TILES, GRADIENT = 512, 1 << 22
#: Rows in a block of a product at least.
ROWS = 1024
#: Queries and keys of a tile of the position attention.
QUERIES, KEYS = 512, 1024


class Convolution(NamedTuple):
    """The shapes of one convolution."""

    x: tuple[int, int, int, int]  # (B, H, W, Ci)
    y: tuple[int, int, int, int]  # (B, H', W', Co)
    weight: tuple[int, int, int, int]  # (kh, kw, Ci, Co)
    stride: int
    padding: int
    dilation: int

    @property
    def is_pointwise(self) -> bool:
        return self.weight[:2] == (1, 1) and self.padding == 0

    @property
    def is_filtered(self) -> bool:
        """Whether it goes by Winograd's filtering."""
        return winograd.pays(self.x, self.weight, self.stride, self.padding, self.dilation)


def convolve(conv: Convolution, threads: int) -> int:
    """Forward."""
    if conv.is_pointwise:
        return _strided(conv)
    if conv.is_filtered:
        return _filtered(conv, conv.y, *conv.weight[2:], threads)
    rows, blocks = _rows(conv.y, PATCHES // (conv.y[2] * math.prod(conv.weight[:3])))
    return min(threads, blocks) * (_patches(conv, rows) + _seen(conv, rows))


def weight_gradient(conv: Convolution, threads: int) -> int:
    """Backward to the weights."""
    channels, outputs = conv.weight[2:]
    if conv.is_pointwise:
        return _strided(conv) + product(math.prod(conv.y[:3]), channels, outputs, threads)
    if conv.is_filtered:
        tiles = _tiles(conv, conv.y, max(TILES, GRADIENT // (4 * (channels + outputs))))
        cut = tiles.seen * channels + 4 * tiles.number * outputs
        row = (tiles.seen_row + tiles.number) * channels + 3 * tiles.number * outputs + channels * outputs
        beside = max(0, min(threads, 4) * row - math.prod(conv.weight))  # the weights' gradient comes last
        return 16 * channels * outputs + cut + beside
    rows, blocks = _rows(conv.y, PATCHES // (conv.y[2] * math.prod(conv.weight[:3])))
    share = math.prod(conv.weight)
    busy = _patches(conv, rows) + max(_seen(conv, rows), share)
    return min(threads, blocks) * busy + (share if blocks > 1 else 0)


def input_gradient(conv: Convolution, threads: int) -> int:
    """Backward to the image."""
    if conv.is_pointwise:
        return 2 * _strided(conv)  # theirs and their gradient
    if conv.is_filtered:
        return _filtered(conv, conv.x, *conv.weight[:1:-1], threads)
    values = max(1, math.prod(conv.weight[:3]) // conv.stride**2)
    rows, blocks = _rows(conv.x, PATCHES // (conv.x[2] * values))
    spread = conv.dilation * (conv.weight[0] - 1)
    over = min(conv.y[1], -(-(rows + spread) // conv.stride))
    busy = _patches(conv, over) + _seen(conv, over) + rows * conv.x[2] * conv.x[3]
    return min(threads, blocks) * busy


def product(rows: int, channels: int, outputs: int, threads: int) -> int:
    """The product of ``(rows, channels)`` transposed and ``(rows, outputs)``."""
    height = max(ROWS, PATCHES // max(channels, outputs))
    return summed(channels * outputs, -(-rows // height), threads)


def summed(values: int, blocks: int, threads: int) -> int:
    """Adding up the arrays of ``values`` that each block gives."""
    return (min(threads, blocks) + 1) * values if blocks > 1 else 0


def attend(query: tuple[int, ...], channels: int, threads: int) -> int:
    """Position attention forward, on ``query (B, N, D)``."""
    batch, pixels, _ = query
    queries, keys = _length(pixels, QUERIES), _length(pixels, KEYS)
    energies = 2 if pixels > KEYS else 1  # the next tile's are made while the last one's are still there
    return min(threads, batch * -(-pixels // QUERIES)) * queries * (energies * keys + channels)


def attend_backward(query: tuple[int, ...], channels: int, threads: int) -> int:
    """And backward, for one image."""
    _, pixels, depth = query
    queries, keys = _length(pixels, QUERIES), _length(pixels, KEYS)
    energies = 3 if pixels > QUERIES else 2
    tile = (energies - 1) * queries * keys + max(queries * keys, keys * channels) + queries * channels
    blocks = -(-pixels // KEYS)
    return min(threads, blocks) * tile + summed(pixels * depth, blocks, threads)


def cross_entropy(pixels: int, classes: int, threads: int) -> int:
    """Logits of some pixels, and about nine arrays of their labels, weights and sums."""
    return min(pixels, threads * max(1, BLOCK // classes)) * (classes + 9)


def blocks(values: int, threads: int) -> int:
    """One array in an op that goes over ``values`` in blocks."""
    return min(values, threads * BLOCK)


def _rows(shape: tuple[int, ...], most: int) -> tuple[int, int]:
    """Rows in a block of an image ``shape (B, H, W, C)``, and how many blocks there are."""
    rows = max(1, min(shape[1], most))
    return rows, shape[0] * -(-shape[1] // rows)


def _patches(conv: Convolution, rows: int) -> int:
    return rows * conv.y[2] * math.prod(conv.weight[:3])


def _seen(conv: Convolution, rows: int) -> int:
    """What so many rows of windows reach over."""
    height, width = (
        conv.stride * (count - 1) + conv.dilation * (taps - 1) + 1
        for count, taps in zip((rows, conv.y[2]), conv.weight[:2], strict=True)
    )
    return height * width * conv.x[3]


def _strided(conv: Convolution) -> int:
    """The pixels that a 1×1 convolution with a stride sees, copied."""
    return math.prod(conv.y[:3]) * conv.x[3] if conv.stride > 1 else 0


def _filtered(conv: Convolution, outputs_of: tuple[int, ...], channels: int, outputs: int, threads: int) -> int:
    """Winograd's filtering: the transformed weights, and for each tile its inputs, products and outputs."""
    tiles = _tiles(conv, outputs_of, max(TILES, TILED // max(channels, outputs)))
    inputs = tiles.seen + 2 * tiles.seen_row + tiles.number  # a row of inputs is made while the last is still there
    busy = inputs * channels + 10 * tiles.number * outputs
    return 16 * channels * outputs + min(threads, tiles.blocks) * busy


class Tiles(NamedTuple):
    """The 2×2 tiles of a block, which see one tile more along each axis."""

    number: int
    seen: int  # pixels
    seen_row: int  # pixels that are left when the rows of each tile have been combined
    blocks: int  # how many there are


def _tiles(conv: Convolution, outputs_of: tuple[int, ...], most: int) -> Tiles:
    batch, height, width, _ = outputs_of
    tiling = winograd.Tiling(batch, height, width, conv.dilation)
    first, *others = tiling.blocks(most)
    images = min(batch, first.images.stop)
    rows, columns, phases = first.last - first.first, tiling.columns, conv.dilation**2
    return Tiles(
        images * rows * columns * phases, 4 * images * (rows + 1) * (columns + 1) * phases,
        2 * images * rows * (columns + 1) * phases, 1 + len(others),
    )


def _length(pixels: int, most: int) -> int:
    """Of equal slices that are no longer than ``most``."""
    return -(-pixels // -(-pixels // most))
