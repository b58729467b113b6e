"""Batch normalisation, alone and with the residual and the ReLU that follow it."""

from __future__ import annotations

from typing import NamedTuple

import cupy

from backends.cupy.checks import checked, checked_gradient
from backends.cupy.launch import BLOCKS, c_type, chunks, launch, vector_width
from backends.precision import vector_dtype
from reference.ops.checks import OpError


class BatchNormCache(NamedTuple):
    x: cupy.ndarray  # (B, H, W, C)
    y: cupy.ndarray | None  # (B, H, W, C), the ReLU's output with a residual; without one, it follows from x
    scale: cupy.ndarray  # (C,)
    shift: cupy.ndarray  # (C,)
    mean: cupy.ndarray  # (C,)
    variance: cupy.ndarray  # (C,), biased
    eps: float
    training: bool
    relu: bool
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
    """``y = relu(batch_norm(x) + residual)``: one pass over memory for the statistics, one for the rest."""
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

    y = cupy.empty(x.shape, x.dtype)
    across = _Across.of(x)
    launch(
        "batch_norm.cu", f"batch_norm<{across.types}>", across.grid, across.block,
        x, scale, shift, mean, variance, residual, y, across.pixels, across.channels, float(eps), relu,
    )
    return y, BatchNormCache(
        x, None if residual is None else y, scale, shift, mean, variance, float(eps), training, relu,
        residual is not None,
    )


def _backward(
    op: str, dy: cupy.ndarray, cache: BatchNormCache
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray, cupy.ndarray | None]:
    x, y, scale, shift, mean, variance, eps, training, relu, has_residual = cache
    dy = checked_gradient(op, dy, x.shape, x.dtype)
    across = _Across.of(x)
    pixels, channels = across.pixels, across.channels

    count, per_chunk = chunks(pixels, across.blocks)
    partial = cupy.empty((count, 2, channels), cupy.float64)
    sums = cupy.empty((2, channels), vector_dtype(x.dtype))
    launch(
        "batch_norm.cu", f"batch_norm_backward_sums<{across.types}>", (across.blocks, count), across.block,
        x, y, dy, scale, shift, mean, variance, partial, pixels, channels, per_chunk, eps, relu,
    )
    launch(
        "channel_sum.cu", f"sum_chunks<{c_type(sums)}>", (-(-2 * channels // 32), 1), (32, 32),
        partial, sums, count, 2 * channels,
    )
    dshift, dscale = sums[0], sums[1]
    dx = cupy.empty(x.shape, x.dtype)
    dresidual = cupy.empty(x.shape, x.dtype) if has_residual else None
    launch(
        "batch_norm.cu", f"batch_norm_backward<{across.types}>", across.grid, across.block,
        x, y, dy, scale, shift, mean, variance, dshift, dscale, dx, dresidual,
        pixels, channels, eps, training, relu,
    )
    return dx, dscale, dshift, dresidual


def _moments(x: cupy.ndarray) -> tuple[cupy.ndarray, cupy.ndarray]:
    """Mean and biased variance of each channel of ``x (B, H, W, C)``."""
    across = _Across.of(x)
    pixels, channels = across.pixels, across.channels
    count, per_chunk = chunks(pixels, across.blocks)
    partial = cupy.empty((2, count, channels), vector_dtype(x.dtype))
    mean, variance = cupy.empty((2, channels), partial.dtype)
    launch(
        "batch_norm.cu", f"batch_moments<{across.types}>", (across.blocks, count), across.block,
        x, partial, pixels, channels, per_chunk,
    )
    launch(
        "batch_norm.cu", f"batch_moments_finish<{c_type(mean)}>", (-(-channels // 32),), (32, 32),
        partial, mean, variance, pixels, channels, per_chunk, count,
    )
    return mean, variance


class _Across(NamedTuple):
    """The layout of threads over maps ``(B, H, W, C)``: neighbours over channels, the rest over pixels."""

    pixels: int
    channels: int
    types: str  # the arguments of a template: type, and number of values that a thread reads at once
    blocks: int  # side by side, to cover the channels
    block: tuple[int, int]

    @classmethod
    def of(cls, x: cupy.ndarray) -> _Across:
        channels = x.shape[3]
        width = vector_width(channels, x.itemsize)
        lanes = 1
        while lanes < 32 and lanes * width < channels:
            lanes *= 2
        blocks = -(-channels // (lanes * width))
        return cls(x.size // channels, channels, f"{c_type(x)}, {width}", blocks, (lanes, 256 // lanes))

    @property
    def grid(self) -> tuple[int, int]:
        """The grid of a kernel whose blocks loop over the pixels."""
        return self.blocks, max(1, min(-(-self.pixels // self.block[1]), BLOCKS // self.blocks))
