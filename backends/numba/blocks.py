"""Blocks of pixels, which depend on the number of pixels and channels alone."""

from __future__ import annotations

from backends.numba.compile import inner

#: Values in a block, and its largest number of rows, over which sums in float32 are accurate.
_VALUES, ROWS = 1 << 15, 512


@inner
def block_count(pixels):
    """The number of blocks of ``pixels (P, C)``."""
    rows = max(1, min(ROWS, _VALUES // max(1, pixels.shape[1])))
    return -(-len(pixels) // rows)


@inner
def block_of(pixels, block):
    """The first row of a block and the row after its last; all blocks have about the same size."""
    blocks = block_count(pixels)
    return block * len(pixels) // blocks, (block + 1) * len(pixels) // blocks
