"""The blocks of rows of an attention's map."""

from __future__ import annotations

from collections.abc import Iterator

from backends.cupy.memory import free_bytes

#: Memory for the blocks of a map together; at N = 9216 in float32 it is a quarter of one N×N matrix.
SCRATCH_BYTES = 96 * 10**6


def scratch_bytes() -> int:
    """:data:`SCRATCH_BYTES`, or a quarter of the free memory if that is less."""
    return min(SCRATCH_BYTES, max(free_bytes() // 4, 2**20))


def block_height(pixels: int, fitting: int) -> int:
    """The height of blocks of at most ``fitting`` rows, which have nearly the same height.

    >>> block_height(9216, 2604), block_height(9216, 100_000), block_height(9, 0)
    (2304, 9216, 1)
    """
    return -(-pixels // -(-pixels // max(fitting, 1)))


def row_blocks(pixels: int, height: int) -> Iterator[slice]:
    """The blocks, from the first row to the last.

    >>> list(row_blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, pixels, height):
        yield slice(start, min(start + height, pixels))
