"""Max pooling, and the mean over all pixels."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from backends.cupy.channel_sum import channel_sum
from backends.cupy.checks import checked, checked_gradient
from backends.cupy.launch import c_type, launch, lines
from reference.ops.checks import OpError, check_integers
from reference.ops.windows import output_size

_LARGEST_WINDOW = 255  # the winning tap is stored in 16 bits


class MaxPool2dCache(NamedTuple):
    winner: cupy.ndarray  # (B, H', W', C), the tap i·window + j that won, uint16
    x_shape: tuple[int, ...]
    dtype: np.dtype
    window: int
    stride: int
    padding: int


def max_pool2d(
    x: cupy.ndarray, *, window: int, stride: int, padding: int = 0
) -> tuple[cupy.ndarray, MaxPool2dCache]:
    """The largest value in each window, per channel; padding never wins."""
    (x,) = checked("max_pool2d", x=(x, "B H W C"))
    check_integers("max_pool2d", at_least=1, window=window, stride=stride)
    check_integers("max_pool2d", at_least=0, padding=padding)
    if padding >= window:
        raise OpError(f"max_pool2d: padding is {padding}, wants less than the window of {window}.")
    if window > _LARGEST_WINDOW:
        raise OpError(f"max_pool2d: window is {window}, wants at most {_LARGEST_WINDOW} on this backend.")
    batch, height, width, channels = x.shape
    size = output_size("max_pool2d", (height, width), (window, window), stride=stride, padding=padding)

    y = cupy.empty((batch, *size, channels), x.dtype)  # (B, H', W', C)
    winner = cupy.empty(y.shape, np.uint16)
    pixels = batch * size[0] * size[1]
    launch(
        "max_pool2d.cu", f"max_pool2d<{c_type(x)}>", *lines(pixels, channels),
        x, y, winner, pixels, height, width, channels, *size, window, stride, padding,
    )
    return y, MaxPool2dCache(winner, x.shape, x.dtype, window, stride, padding)


def max_pool2d_backward(dy: cupy.ndarray, cache: MaxPool2dCache) -> cupy.ndarray:
    """From ``dy (B, H', W', C)``: ``dx (B, H, W, C)``, for each pixel the sum over the windows that it won."""
    winner, (batch, height, width, channels), dtype, window, stride, padding = cache
    dy = checked_gradient("max_pool2d_backward", dy, winner.shape, dtype)
    dx = cupy.empty((batch, height, width, channels), dtype)
    pixels = batch * height * width
    launch(
        "max_pool2d.cu", f"max_pool2d_backward<{c_type(dy)}>", *lines(pixels, channels),
        dy, winner, dx, pixels, height, width, channels, *winner.shape[1:3], window, stride, padding,
    )
    return dx


class GlobalMeanPoolCache(NamedTuple):
    x_shape: tuple[int, ...]
    dtype: np.dtype


def global_mean_pool(x: cupy.ndarray) -> tuple[cupy.ndarray, GlobalMeanPoolCache]:
    """One value for each channel of each image: ``(B, H, W, C)`` → ``(B, C)``."""
    (x,) = checked("global_mean_pool", x=(x, "B H W C"))
    batch, height, width, channels = x.shape
    sums = channel_sum(x.reshape(batch, height * width, channels))
    y = (sums / (height * width)).astype(x.dtype, copy=False)  # (B, C)
    return y, GlobalMeanPoolCache(x.shape, x.dtype)


def global_mean_pool_backward(dy: cupy.ndarray, cache: GlobalMeanPoolCache) -> cupy.ndarray:
    """From ``dy (B, C)``: ``dx (B, H, W, C)``, spread equally over the pixels."""
    batch, height, width, channels = cache.x_shape
    dy = checked_gradient("global_mean_pool_backward", dy, (batch, channels), cache.dtype)
    dpixel = (dy / (height * width))[:, None, None, :]
    return cupy.ascontiguousarray(cupy.broadcast_to(dpixel, cache.x_shape))  # (B, H, W, C)
