"""How pixels are cut into blocks: by their number and channels alone."""

from __future__ import annotations

from backends.numba.compile import inner

#: Values in a block, and the most rows of it: sums over so many in float32 keep their digits.
_VALUES, ROWS = 1 << 15, 512


@inner
def block_count(pixels):
    """Into how many blocks ``pixels (P, C)`` are cut."""
    rows = max(1, min(ROWS, _VALUES // max(1, pixels.shape[1])))
    return -(-len(pixels) // rows)


@inner
def block_of(pixels, block):
    """The first row of a block and the one behind its last; all blocks are of about equal size."""
    blocks = block_count(pixels)
    return block * len(pixels) // blocks, (block + 1) * len(pixels) // blocks
