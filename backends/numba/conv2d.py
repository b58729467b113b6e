"""Convolution in the same three ways as the ``numpy`` backend, each in compiled loops."""

from __future__ import annotations

import numpy as np

from backends.numba import patches, products, winograd
from backends.numpy.conv2d import Ways, convolve, differentiate
from reference.ops.conv2d import Conv2dCache

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
    """See :func:`reference.ops.conv2d`."""
    return convolve(WAYS, x, weight, bias, stride, padding, dilation)


def conv2d_backward(
    dy: np.ndarray, cache: Conv2dCache, *, needs_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.conv2d_backward`."""
    return differentiate(WAYS, dy, cache, needs_dx)
