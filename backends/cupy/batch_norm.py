"""Batch normalisation, alone and with the residual and the ReLU that follow it."""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.launch import c_type, chunks, launch
from reference.ops.checks import OpError


class BatchNormCache(NamedTuple):
    x: cupy.ndarray  # (B, H, W, C)
    y: cupy.ndarray | None  # (B, H, W, C), where a ReLU made it: it is positive where the gradient passes
    scale: cupy.ndarray  # (C,)
    mean: cupy.ndarray  # (C,)
    variance: cupy.ndarray  # (C,), biased
    eps: float
    training: bool
    has_residual: bool


def batch_norm(
    x: cupy.ndarray,
    scale: cupy.ndarray,
    shift: cupy.ndarray,
    mean: cupy.ndarray,
    variance: cupy.ndarray,
    *,
    training: bool,
    eps: float = 1e-5,
) -> tuple[cupy.ndarray, BatchNormCache]:
    """Give every channel mean ``shift`` and standard deviation ``scale``."""
    return _forward("batch_norm", x, scale, shift, mean, variance, None, training, eps, relu=False)


def batch_norm_backward(
    dy: cupy.ndarray, cache: BatchNormCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray]:
    """From ``dy (B, H, W, C)``: ``dx (B, H, W, C)``, ``dscale (C,)`` and ``dshift (C,)``."""
    dx, dscale, dshift, _ = _backward("batch_norm_backward", dy, cache)
    return dx, dscale, dshift


def batch_norm_relu(
    x: cupy.ndarray,
    scale: cupy.ndarray,
    shift: cupy.ndarray,
    mean: cupy.ndarray,
    variance: cupy.ndarray,
    residual: cupy.ndarray | None = None,
    *,
    training: bool,
    eps: float = 1e-5,
) -> tuple[cupy.ndarray, BatchNormCache]:
    """``y = relu(batch_norm(x) + residual)``: one pass over memory for the statistics, one for all the rest."""
    return _forward("batch_norm_relu", x, scale, shift, mean, variance, residual, training, eps, relu=True)


def batch_norm_relu_backward(
    dy: cupy.ndarray, cache: BatchNormCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray, cupy.ndarray | None]:
    """From ``dy (B, H, W, C)``: ``dx``, ``dscale``, ``dshift``, and ``dresidual`` or None."""
    return _backward("batch_norm_relu_backward", dy, cache)


def _forward(
    op: str,
    x: cupy.ndarray,
    scale: cupy.ndarray,
    shift: cupy.ndarray,
    mean: cupy.ndarray,
    variance: cupy.ndarray,
    residual: cupy.ndarray | None,
    training: bool,
    eps: float,
    *,
    relu: bool,
) -> tuple[cupy.ndarray, BatchNormCache]:
    x, scale, shift, residual = checked(
        op, x=(x, "B H W C"), scale=(scale, "C"), shift=(shift, "C"), residual=(residual, "B H W C")
    )
    if not eps > 0:
        raise OpError(f"{op}: eps is {eps}, wants a positive number.")
    if training:
        mean, variance = _moments(x)
    else:
        _, mean, variance = checked(op, x=(x, "B H W C"), mean=(mean, "C"), variance=(variance, "C"))

    pixels, channels = x.size // x.shape[3], x.shape[3]
    y = cupy.empty_like(x)
    launch(
        "batch_norm.cu", f"batch_norm<{c_type(x)}>", _walkers(pixels, channels), (32, 8),
        x, scale, shift, mean, variance, residual, y, pixels, channels, float(eps), relu,
    )
    return y, BatchNormCache(
        x, y if relu else None, scale, mean, variance, float(eps), training, residual is not None
    )


def _backward(
    op: str, dy: cupy.ndarray, cache: BatchNormCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray, cupy.ndarray | None]:
    x, y, scale, mean, variance, eps, training, has_residual = cache
    dy = checked_gradient(op, dy, x.shape, x.dtype)
    pixels, channels = x.size // x.shape[3], x.shape[3]

    count, per_chunk = chunks(pixels, channels)
    partial = cupy.empty((count, 2, channels), cupy.float64)
    sums = cupy.empty((2, channels), x.dtype)
    launch(
        "batch_norm.cu", f"batch_norm_backward_sums<{c_type(x)}>", (-(-channels // 32), count), (32, 8),
        x, y, dy, mean, variance, partial, pixels, channels, per_chunk, eps,
    )
    launch(
        "channel_sum.cu", f"sum_chunks<{c_type(x)}>", (-(-2 * channels // 32), 1), (32, 32),
        partial, sums, count, 2 * channels,
    )
    dshift, dscale = sums[0], sums[1]
    dx = cupy.empty_like(x)
    dresidual = cupy.empty_like(x) if has_residual else None
    launch(
        "batch_norm.cu", f"batch_norm_backward<{c_type(x)}>", _walkers(pixels, channels), (32, 8),
        x, y, dy, scale, mean, variance, dshift, dscale, dx, dresidual, pixels, channels, eps, training,
    )
    return dx, dscale, dshift, dresidual


def _moments(x: cupy.ndarray) -> tuple[cupy.ndarray, cupy.ndarray]:
    """Mean and biased variance of each channel of ``x (B, H, W, C)``."""
    pixels, channels = x.size // x.shape[3], x.shape[3]
    count, per_chunk = chunks(pixels, channels)
    partial = cupy.empty((2, count, channels), x.dtype)
    mean, variance = cupy.empty(channels, x.dtype), cupy.empty(channels, x.dtype)
    across = -(-channels // 32)
    launch(
        "batch_norm.cu", f"batch_moments<{c_type(x)}>", (across, count), (32, 8),
        x, partial, pixels, channels, per_chunk,
    )
    launch(
        "batch_norm.cu", f"batch_moments_finish<{c_type(x)}>", (across,), (32, 32),
        partial, mean, variance, pixels, channels, per_chunk, count,
    )
    return mean, variance


def _walkers(pixels: int, channels: int) -> tuple[int, int]:
    """The grid of a kernel whose blocks walk over the pixels: about 4096 blocks where there is work for them."""
    across = -(-channels // 32)
    return across, max(1, min(-(-pixels // 8), 4096 // across))
