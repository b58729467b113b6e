"""Sums over pixels, one for each channel, in a fixed order."""

from __future__ import annotations

import cupy

from backends.cupy.launch import c_type, chunks, launch
from backends.precision import vector_dtype


def channel_sum(a: cupy.ndarray, b: cupy.ndarray | None = None) -> cupy.ndarray:
    """``Σ a``, or ``Σ a·b``, over the pixels of contiguous ``(G, M, C)``: ``(G, C)``, float32 at least."""
    groups, pixels, channels = a.shape
    across = -(-channels // 32)
    count, per_chunk = chunks(pixels, across)
    partial = cupy.empty((groups, count, channels), cupy.float64)
    out = cupy.empty((groups, channels), vector_dtype(a.dtype))
    launch(
        "channel_sum.cu", f"channel_sum<{c_type(a)}>", (across, count, groups), (32, 8),
        a, b, partial, pixels, channels, per_chunk,
    )
    launch(
        "channel_sum.cu", f"sum_chunks<{c_type(out)}>", (across, groups), (32, 32), partial, out, count, channels
    )
    return out
