"""Convolution by matrix products, in one of three ways, each with its blocks on all threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from backends.numpy import patches, products, winograd
from backends.numpy.windows import Windows
from reference.ops.checks import check_arrays, check_gradient, check_integers
from reference.ops.conv2d import Conv2dCache
from reference.ops.sums import channel_sum
from reference.ops.windows import output_size


class Ways(NamedTuple):
    """The modules that compute the three kinds of convolution."""

    products: Any
    winograd: Any
    patches: Any


WAYS = Ways(products, winograd, patches)


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[np.ndarray, Conv2dCache]:
    """See :func:`reference.ops.conv2d`.

    1×1 windows are one product of pixels and weights; 3×3 windows of stride 1 go by Winograd's filtering where that
    is less work; all others by patches.

    >>> y, cache = conv2d(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), padding=1)
    >>> y[0, :, :, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    return convolve(WAYS, x, weight, bias, stride, padding, dilation)


def conv2d_backward(
    dy: np.ndarray, cache: Conv2dCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.conv2d_backward`; padded copies and patches of x are made again.

    >>> y, cache = conv2d(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), padding=1)
    >>> dx, dweight, dbias = conv2d_backward(np.ones_like(y), cache)
    >>> dx[0, 1, 1, 0], dweight[1, 1, 0, 0]
    (np.float64(9.0), np.float64(9.0))
    """
    return differentiate(WAYS, dy, cache, needs_dx)


def convolve(
    ways: Ways, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int, padding: int, dilation: int
) -> tuple[np.ndarray, Conv2dCache]:
    check_arrays("conv2d", x=(x, "B H W Ci"), weight=(weight, "kh kw Ci Co"), bias=(bias, "Co"))
    check_integers("conv2d", at_least=1, stride=stride, dilation=dilation)
    check_integers("conv2d", at_least=0, padding=padding)
    cache = Conv2dCache(x, weight, bias is not None, stride, padding, dilation)
    windows = _windows(cache)

    if _is_pointwise(cache):
        pixels = x[:, ::stride, ::stride].reshape(-1, x.shape[3])
        y = ways.products.multiply(pixels, weight[0, 0], bias).reshape(len(x), *windows.size, -1)
    elif ways.winograd.pays(x.shape, weight.shape, stride, padding, dilation):
        y = ways.winograd.convolve(x, weight, bias, padding=padding, dilation=dilation)
    else:
        y = ways.patches.convolve(x, weight, bias, windows)
    return y, cache


def differentiate(
    ways: Ways, dy: np.ndarray, cache: Conv2dCache, needs_dx: bool
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    x, weight, has_bias, stride, padding, dilation = cache
    windows = _windows(cache)
    check_gradient("conv2d_backward", dy, (len(x), *windows.size, weight.shape[3]), x.dtype)
    dx = None

    if _is_pointwise(cache):
        dpixels = dy.reshape(-1, dy.shape[3])
        pixels = x[:, ::stride, ::stride].reshape(-1, x.shape[3])
        dweight = ways.products.multiply_transposed(pixels, dpixels)[None, None]
        if needs_dx:
            dx = ways.products.multiply(dpixels, weight[0, 0].T).reshape(len(x), *windows.size, -1)
            if stride > 1:
                dx, seen = np.zeros(x.shape, x.dtype), dx
                dx[:, ::stride, ::stride] = seen
    elif ways.winograd.pays(x.shape, weight.shape, stride, padding, dilation):
        dweight = ways.winograd.weight_gradient(x, dy, padding=padding, dilation=dilation)
        if needs_dx:
            dx = ways.winograd.input_gradient(dy, weight, padding=padding, dilation=dilation)
    else:
        dweight = ways.patches.weight_gradient(x, dy, weight.shape, windows)
        if needs_dx:
            dx = ways.patches.input_gradient(dy, weight, x.shape, windows)
    return dx, dweight, channel_sum(dy) if has_bias else None


def _windows(cache: Conv2dCache) -> Windows:
    x, weight, _, stride, padding, dilation = cache
    size = output_size(
        "conv2d", x.shape[1:3], weight.shape[:2], stride=stride, padding=padding, dilation=dilation
    )
    return Windows(size, weight.shape[:2], stride, padding, dilation)


def _is_pointwise(cache: Conv2dCache) -> bool:
    return cache.weight.shape[:2] == (1, 1) and cache.padding == 0
