"""Convolution by matrix products: pointwise, by Winograd's filtering, or by patches; blocks on all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from backends.numpy import patches, products, winograd
from backends.numpy.relu import relu, relu_backward
from backends.numpy.windows import Windows
from reference.ops.checks import check_gradient
from reference.ops.conv2d import Conv2dCache, check_conv2d
from reference.ops.conv2d_relu import Conv2dReluCache
from reference.ops.sums import channel_sum
from reference.ops.windows import output_size


class Algorithms(NamedTuple):
    """The modules that compute the three kinds of convolution, and functions beside them."""

    products: Any
    winograd: Any
    patches: Any
    channel_sum: Callable[[np.ndarray], np.ndarray]
    is_product: Callable[[Conv2dCache], bool]  # of pixels and weights; others take Winograd's filtering or patches


def is_pointwise(cache: Conv2dCache) -> bool:
    return cache.weight.shape[:2] == (1, 1) and cache.padding == 0


ALGORITHMS = Algorithms(products, winograd, patches, channel_sum, is_pointwise)


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

    1×1 windows are one product of pixels and weights; 3×3 windows of stride 1 use Winograd's filtering if that is
    less work; all others use patches.

    >>> y, cache = conv2d(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), padding=1)
    >>> y[0, :, :, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    size = check_conv2d("conv2d", x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    cache = Conv2dCache(x, weight, bias is not None, stride, padding, dilation)

    if is_pointwise(cache):
        pixels = x[:, ::stride, ::stride].reshape(-1, x.shape[3])
        y = products.multiply(pixels, weight[0, 0], bias).reshape(len(x), *size, -1)
    elif winograd.pays(x.shape, weight.shape, stride, padding, dilation):
        y = winograd.convolve(x, weight, bias, padding=padding, dilation=dilation)
    else:
        y = patches.convolve(x, weight, bias, windows_of(cache))
    return y, cache


def conv2d_backward(
    dy: np.ndarray, cache: Conv2dCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.conv2d_backward`; padded copies and patches of x are computed again.

    >>> y, cache = conv2d(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), padding=1)
    >>> dx, dweight, dbias = conv2d_backward(np.ones_like(y), cache)
    >>> dx[0, 1, 1, 0], dweight[1, 1, 0, 0]
    (np.float64(9.0), np.float64(9.0))
    """
    return differentiate(ALGORITHMS, dy, cache, needs_dx)


def conv2d_relu(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    overwrite_residual: bool = False,
) -> tuple[np.ndarray, Conv2dReluCache]:
    """See :func:`reference.ops.conv2d_relu`.

    >>> x, weight = np.array([-1.0, 1.0]).reshape(1, 1, 2, 1), np.full((1, 1, 1, 1), 3.0)
    >>> conv2d_relu(x, weight)[0].ravel()
    array([0., 3.])
    """
    check_conv2d("conv2d_relu", x, weight, bias, residual, stride=stride, padding=padding, dilation=dilation)
    z, conv_cache = conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    y, relu_cache = relu(z if residual is None else z + residual)
    return y, Conv2dReluCache(conv_cache, relu_cache, residual is not None)


def conv2d_relu_backward(
    dy: np.ndarray, cache: Conv2dReluCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See :func:`reference.ops.conv2d_relu_backward`."""
    dtotal = relu_backward(dy, cache.relu)
    return *conv2d_backward(dtotal, cache.conv, needs_dx=needs_dx), dtotal if cache.has_residual else None


def differentiate(
    algorithms: Algorithms, dy: np.ndarray, cache: Conv2dCache, needs_dx: bool
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """The backward pass with these algorithms."""
    x, weight, has_bias, stride, padding, dilation = cache
    windows = windows_of(cache)
    check_gradient("conv2d_backward", dy, (len(x), *windows.size, weight.shape[3]), x.dtype)
    dx = None

    if algorithms.is_product(cache):
        dpixels = dy.reshape(-1, dy.shape[3])
        pixels = x[:, ::stride, ::stride].reshape(-1, x.shape[3])
        dweight = algorithms.products.multiply_transposed(pixels, dpixels)[None, None]
        if needs_dx:
            dx = algorithms.products.multiply(dpixels, weight[0, 0].T).reshape(len(x), *windows.size, -1)
            if stride > 1:
                dx, dsampled = np.zeros(x.shape, x.dtype), dx
                dx[:, ::stride, ::stride] = dsampled
    elif algorithms.winograd.pays(x.shape, weight.shape, stride, padding, dilation):
        dweight = algorithms.winograd.weight_gradient(x, dy, padding=padding, dilation=dilation)
        if needs_dx:
            dx = algorithms.winograd.input_gradient(dy, weight, padding=padding, dilation=dilation)
    else:
        dweight = algorithms.patches.weight_gradient(x, dy, weight.shape, windows)
        if needs_dx:
            dx = algorithms.patches.input_gradient(dy, weight, x.shape, windows)
    return dx, dweight, algorithms.channel_sum(dy) if has_bias else None


def windows_of(cache: Conv2dCache) -> Windows:
    x, weight, _, stride, padding, dilation = cache
    size = output_size(
        "conv2d", x.shape[1:3], weight.shape[:2], stride=stride, padding=padding, dilation=dilation
    )
    return Windows(size, weight.shape[:2], stride, padding, dilation)
