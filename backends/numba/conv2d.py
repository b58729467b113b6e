"""Convolution by the same three algorithms as in the ``numpy`` backend, in compiled loops with their epilogue."""

from __future__ import annotations

import numpy as np

from backends.numba import patches, products, winograd
from backends.numba.elementwise import relu_backward
from backends.numba.finish import Finish
from backends.numba.sums import channel_sum
from backends.numpy.conv2d import Algorithms, differentiate, is_pointwise, windows_of
from reference.ops.conv2d import Conv2dCache, check_conv2d
from reference.ops.conv2d_relu import Conv2dReluCache
from reference.ops.relu import ReluCache


def is_product(cache: Conv2dCache) -> bool:
    """Whether all pixels are multiplied by the same matrix; patches of one pixel are best for some of them."""
    return is_pointwise(cache) and cache.stride == 1


ALGORITHMS = Algorithms(products, winograd, patches, channel_sum, is_product)


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[np.ndarray, Conv2dCache]:
    """See :func:`reference.ops.conv2d`."""
    size = check_conv2d("conv2d", x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    cache = Conv2dCache(x, weight, bias is not None, stride, padding, dilation)
    return _convolve(cache, size, Finish.of(weight, bias)), cache


def conv2d_backward(
    dy: np.ndarray, cache: Conv2dCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.conv2d_backward`."""
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
    """See :func:`reference.ops.conv2d_relu`."""
    size = check_conv2d("conv2d_relu", x, weight, bias, residual, stride=stride, padding=padding, dilation=dilation)
    cache = Conv2dCache(x, weight, bias is not None, stride, padding, dilation)
    overwritten = residual if overwrite_residual and residual is not None and _is_free(residual, x) else None
    y = _convolve(cache, size, Finish.of(weight, bias, residual, relu=True), overwritten)
    return y, Conv2dReluCache(cache, ReluCache(y), residual is not None)


def _is_free(residual: np.ndarray, x: np.ndarray) -> bool:
    """Whether the output can take the memory of the residual. The input is still read when it is begun."""
    flags = residual.flags
    return flags.c_contiguous and flags.writeable and not np.may_share_memory(residual, x)


def conv2d_relu_backward(
    dy: np.ndarray, cache: Conv2dReluCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See :func:`reference.ops.conv2d_relu_backward`."""
    dtotal = relu_backward(dy, cache.relu)
    return *conv2d_backward(dtotal, cache.conv, needs_dx=needs_dx), dtotal if cache.has_residual else None


def _convolve(
    cache: Conv2dCache, size: tuple[int, int], finish: Finish, overwritten: np.ndarray | None = None
) -> np.ndarray:
    """The output, in the memory of the residual ``overwritten`` where that is possible."""
    x, weight, _, stride, padding, dilation = cache
    if is_product(cache):
        pixels, out = x.reshape(-1, x.shape[3]), None
        if overwritten is not None:
            out = overwritten.reshape(-1, weight.shape[3])
        y = products.multiply(pixels, weight, finish=None if finish.is_trivial else finish, overwritten=out)
        return y.reshape(len(x), *size, -1)
    if winograd.pays(x.shape, weight.shape, stride, padding, dilation):
        return winograd.convolve(x, weight, finish, padding=padding, dilation=dilation, overwritten=overwritten)
    return patches.convolve(x, weight, finish, windows_of(cache))
