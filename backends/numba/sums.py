"""Sums over all pixels, one for each channel."""

from __future__ import annotations

import numpy as np

from backends.numba.blocks import block_count, block_of
from backends.numba.compile import kernel


def channel_sum(x: np.ndarray) -> np.ndarray:
    """See :func:`reference.ops.sums.channel_sum`.

    Blocks of pixels are summed in float64, too: the gradient of a bias may be a small difference of large sums.
    """
    pixels = x.reshape(-1, x.shape[-1])
    sums = np.empty((block_count(pixels), pixels.shape[1]))
    _add_blocks(len(sums), pixels, sums)
    return sums.sum(axis=0).astype(x.dtype)


@kernel
def _add_blocks(block, x, sums):
    first, last = block_of(x, block)
    total = sums[block]
    total[:] = 0
    for p in range(first, last):
        pixel = x[p]
        for c in range(len(pixel)):
            total[c] += pixel[c]
