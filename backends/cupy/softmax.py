"""Softmax over the last axis."""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.launch import c_type, launch

_LONGEST_OF_A_WARP = 512  # a longer row has a block of threads
_REGISTERS = 32  # of 4 bytes, in which a thread may hold its part of a row


class SoftmaxCache(NamedTuple):
    y: cupy.ndarray  # (…, K)


def softmax(x: cupy.ndarray) -> tuple[cupy.ndarray, SoftmaxCache]:
    """Turn each row of logits into probabilities."""
    (x,) = checked("softmax", x=(x, "... K"))
    y = softmax_rows(x, cupy.empty(x.shape, x.dtype))
    return y, SoftmaxCache(y)


def softmax_backward(dy: cupy.ndarray, cache: SoftmaxCache) -> cupy.ndarray:
    """From ``dy (…, K)``: ``dx (…, K)``."""
    dy = checked_gradient("softmax_backward", dy, cache.y.shape, cache.y.dtype)
    return softmax_rows_backward(cache.y, dy, cupy.empty(dy.shape, dy.dtype))


def softmax_rows(x: cupy.ndarray, out: cupy.ndarray, *, sign: int = 1) -> cupy.ndarray:
    """``out = softmax(sign·x)`` over the last axis of contiguous arrays; ``out`` may be ``x``."""
    rows, width, grid, block = _rows(x)
    kernel = f"softmax_rows<{c_type(x)}, {block[0]}, {_values_per_thread(x, block[0])}>"
    launch("softmax.cu", kernel, grid, block, x, out, rows, width, sign)
    return out


def _values_per_thread(x: cupy.ndarray, threads: int) -> int:
    """The number of values of a row of ``x`` in each of its threads, a multiple of 4; 0 if they are too many."""
    values = -(-x.shape[-1] // (4 * threads)) * 4
    return values if values * x.itemsize <= 4 * _REGISTERS else 0


def softmax_rows_backward(y: cupy.ndarray, dy: cupy.ndarray, out: cupy.ndarray, *, sign: int = 1) -> cupy.ndarray:
    """The gradient of :func:`softmax_rows`; ``out`` may be ``dy``."""
    rows, width, grid, block = _rows(y)
    kernel = f"softmax_rows_backward<{c_type(y)}, {block[0]}>"
    launch("softmax.cu", kernel, grid, block, y, dy, out, rows, width, sign)
    return out


def _rows(x: cupy.ndarray) -> tuple[int, int, tuple[int], tuple[int, int]]:
    width = x.shape[-1]
    rows = x.size // width
    if width <= _LONGEST_OF_A_WARP:
        return rows, width, (-(-rows // 8),), (32, 8)
    return rows, width, (rows,), (512, 1)
