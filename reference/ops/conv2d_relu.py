"""Convolution, a residual that is added, and ReLU, as one op."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.conv2d import Conv2dCache, check_conv2d, conv2d, conv2d_backward
from reference.ops.relu import ReluCache, relu, relu_backward


class Conv2dReluCache(NamedTuple):
    conv: Conv2dCache
    relu: ReluCache
    has_residual: bool


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
    """``y = relu(conv2d(x) + residual)``: a layer of VGG, and at inference, where its norm is folded, of a ResNet.

    The arithmetic is that of :func:`conv2d` and :func:`relu`. It is one op so that a fast backend can add and
    rectify while the output is in the CPU's cache.

    Shapes: those of :func:`conv2d`, and ``residual (B, H', W', Co)``. Caches what its parts cache. Raises
    :class:`OpError` for shapes or dtypes that do not fit.

    With ``overwrite_residual``, nobody reads the residual afterwards, and a backend may compute y in its memory, as
    ``numba`` does. Without, no op changes an input.

    >>> x, weight = np.array([-1.0, 1.0]).reshape(1, 1, 2, 1), np.full((1, 1, 1, 1), 3.0)
    >>> conv2d_relu(x, weight)[0].ravel(), conv2d_relu(x, weight, residual=x + 4)[0].ravel()
    (array([0., 3.]), array([0., 8.]))
    """
    check_conv2d("conv2d_relu", x, weight, bias, residual, stride=stride, padding=padding, dilation=dilation)

    z, conv_cache = conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    total = z if residual is None else z + residual  # (B, H', W', Co)
    y, relu_cache = relu(total)
    return y, Conv2dReluCache(conv_cache, relu_cache, residual is not None)


def conv2d_relu_backward(
    dy: np.ndarray, cache: Conv2dReluCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """From ``dy (B, H', W', Co)``: ``dx`` (None unless needed), ``dweight``, and ``dbias``, ``dresidual`` or None.

    >>> x, weight = np.array([-1.0, 1.0]).reshape(1, 1, 2, 1), np.full((1, 1, 1, 1), 3.0)
    >>> y, cache = conv2d_relu(x, weight)
    >>> dx, dweight, dbias, dresidual = conv2d_relu_backward(np.ones_like(y), cache)
    >>> dx.ravel(), dweight.ravel(), dbias, dresidual
    (array([0., 3.]), array([1.]), None, None)
    """
    # y, relu_cache = relu(total)
    dtotal = relu_backward(dy, cache.relu)  # (B, H', W', Co)
    # total = z if residual is None else z + residual
    dz = dtotal
    dresidual = dtotal if cache.has_residual else None  # (B, H', W', Co)
    # z, conv_cache = conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    dx, dweight, dbias = conv2d_backward(dz, cache.conv, needs_dx=needs_dx)
    return dx, dweight, dbias, dresidual
