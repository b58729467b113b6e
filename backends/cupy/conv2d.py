"""Two-dimensional convolution by matrix products: how is chosen here and nowhere else.

A 1×1 convolution of stride 1 is one product. Any other gathers what each output pixel sees into a row of *columns*,
``(pixels, kh·kw·Ci)``, for as many pixels at a time as fit into :data:`SCRATCH_BYTES`, and multiplies those by the
weights; strides, padding and dilation only change what is gathered. The way back reuses the same block of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import cupy

from backends.cupy.channel_sum import channel_sum
from backends.cupy.checks import checked, checked_gradient
from backends.cupy.gemm import gemm
from backends.cupy.launch import c_type, launch, lines
from reference.ops.checks import check_integers
from reference.ops.windows import output_size

#: The most memory that the columns of one product may take.
SCRATCH_BYTES = 256 * 2**20


class Conv2dCache(NamedTuple):
    x: cupy.ndarray  # (B, H, W, Ci)
    weight: cupy.ndarray  # (kh, kw, Ci, Co)
    has_bias: bool
    stride: int
    padding: int
    dilation: int


def conv2d(
    x: cupy.ndarray,
    weight: cupy.ndarray,
    bias: cupy.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[cupy.ndarray, Conv2dCache]:
    """Slide a window of weights over the image."""
    x, weight, bias = checked("conv2d", x=(x, "B H W Ci"), weight=(weight, "kh kw Ci Co"), bias=(bias, "Co"))
    check_integers("conv2d", at_least=1, stride=stride, dilation=dilation)
    check_integers("conv2d", at_least=0, padding=padding)
    size = output_size("conv2d", x.shape[1:3], weight.shape[:2], stride=stride, padding=padding, dilation=dilation)
    cache = Conv2dCache(x, weight, bias is not None, stride, padding, dilation)

    outputs = weight.shape[3]
    y = cupy.empty((len(x), *size, outputs), x.dtype)  # (B, H', W', Co)
    y_rows = y.reshape(-1, outputs)
    w_rows = weight.reshape(-1, outputs)  # (kh·kw·Ci, Co)
    if _is_pointwise(cache):
        gemm(x.reshape(-1, x.shape[3]), w_rows, y_rows)
    else:
        columns = _columns(cache, size)
        for first, pixels in _blocks(columns, y_rows):
            _im2col(cache, size, first, columns[:pixels])
            gemm(columns[:pixels], w_rows, y_rows[first : first + pixels])
    if bias is not None:
        y += bias
    return y, cache


def conv2d_backward(
    dy: cupy.ndarray, cache: Conv2dCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray | None]:
    """From ``dy (B, H', W', Co)``: ``dx``, ``dweight``, and ``dbias`` or None."""
    x, weight, has_bias, stride, padding, dilation = cache
    size = output_size("conv2d", x.shape[1:3], weight.shape[:2], stride=stride, padding=padding, dilation=dilation)
    dy = checked_gradient("conv2d_backward", dy, (len(x), *size, weight.shape[3]), x.dtype)

    outputs = weight.shape[3]
    dy_rows = dy.reshape(-1, outputs)
    w_rows = weight.reshape(-1, outputs)
    dweight = cupy.empty_like(weight)
    dw_rows = dweight.reshape(-1, outputs)
    if _is_pointwise(cache):
        gemm(x.reshape(-1, x.shape[3]).T, dy_rows, dw_rows)
        dx = cupy.empty_like(x)
        gemm(dy_rows, w_rows.T, dx.reshape(-1, x.shape[3]))
    else:
        columns = _columns(cache, size)
        in_parts = len(columns) % (size[0] * size[1]) != 0  # then an image is collected from several blocks
        dx = cupy.zeros_like(x) if in_parts else cupy.empty_like(x)
        for first, pixels in _blocks(columns, dy_rows):
            block, dy_block = columns[:pixels], dy_rows[first : first + pixels]
            _im2col(cache, size, first, block)
            gemm(block.T, dy_block, dw_rows, accumulate=first > 0)
            gemm(dy_block, w_rows.T, block)  # the gradient of the columns, in their place
            _col2im(block, dx, cache, size, first, accumulate=in_parts)
    # y += bias
    dbias = channel_sum(dy_rows[None])[0] if has_bias else None
    return dx, dweight, dbias


def _is_pointwise(cache: Conv2dCache) -> bool:
    return cache.weight.shape[:2] == (1, 1) and cache.stride == 1 and cache.padding == 0


def _columns(cache: Conv2dCache, size: tuple[int, int]) -> cupy.ndarray:
    """Room for the columns of whole images where one fits, and of a part of an image otherwise."""
    row = cache.weight.size // cache.weight.shape[3]  # kh·kw·Ci
    fitting = max(SCRATCH_BYTES // (row * cache.x.itemsize), 1)
    image = size[0] * size[1]
    pixels = min(fitting // image, len(cache.x)) * image if fitting >= image else fitting
    return cupy.empty((pixels, row), cache.x.dtype)


def _blocks(columns: cupy.ndarray, rows: cupy.ndarray) -> Iterator[tuple[int, int]]:
    """The first output pixel and the number of pixels of each block."""
    for first in range(0, len(rows), len(columns)):
        yield first, min(len(columns), len(rows) - first)


def _geometry(cache: Conv2dCache, size: tuple[int, int], channels: int) -> tuple[int, ...]:
    _, height, width, _ = cache.x.shape
    return height, width, channels, *size, *cache.weight.shape[:2], cache.stride, cache.padding, cache.dilation


def _im2col(cache: Conv2dCache, size: tuple[int, int], first: int, columns: cupy.ndarray) -> None:
    x, taps = cache.x, cache.weight.shape[0] * cache.weight.shape[1]
    copied: Any = c_type(x)
    channels = x.shape[3]
    if channels * x.itemsize % 16 == 0:  # a copy of 16 bytes a thread
        copied, channels = "uint4", channels * x.itemsize // 16
    launch(
        "conv2d.cu", f"im2col<{copied}>", *lines(len(columns) * taps, channels),
        x, columns, first, len(columns), *_geometry(cache, size, channels),
    )


def _col2im(
    columns: cupy.ndarray, dx: cupy.ndarray, cache: Conv2dCache, size: tuple[int, int], first: int, *,
    accumulate: bool,
) -> None:
    _, height, width, channels = dx.shape
    image = size[0] * size[1]
    first_image = first // image
    images = (first + len(columns) - 1) // image - first_image + 1
    launch(
        "conv2d.cu", f"col2im<{c_type(dx)}>", *lines(images * height * width, channels),
        columns, dx, first_image, images, first, len(columns), *_geometry(cache, size, channels), accumulate,
    )
