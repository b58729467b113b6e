"""Batch normalisation, with or without a residual and ReLU: two passes over memory forward, two backward."""

from __future__ import annotations

import numpy as np

from backends.numba.blocks import block_count, block_of
from backends.numba.compile import kernel
from reference.ops.batch_norm import BatchNormCache, check_batch_norm
from reference.ops.batch_norm_relu import BatchNormReluCache
from reference.ops.checks import check_gradient
from reference.ops.relu import ReluCache


def batch_norm(
    x: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    training: bool,
    eps: float = 1e-5,
) -> tuple[np.ndarray, BatchNormCache]:
    """See :func:`reference.ops.batch_norm`."""
    check_batch_norm("batch_norm", x, scale, shift, mean, variance, training=training, eps=eps)
    cache = _statistics(x, scale, mean, variance, training, eps)
    return _normalise(cache, shift, None, relu=False), cache


def batch_norm_backward(dy: np.ndarray, cache: BatchNormCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.batch_norm_backward`."""
    check_gradient("batch_norm_backward", dy, cache.x.shape, cache.x.dtype)
    dx, dscale, dshift, _ = _differentiate(dy, cache, None, has_residual=False)
    return dx, dscale, dshift


def batch_norm_relu(
    x: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    residual: np.ndarray | None = None,
    *,
    training: bool,
    eps: float = 1e-5,
) -> tuple[np.ndarray, BatchNormReluCache]:
    """See :func:`reference.ops.batch_norm_relu`."""
    check_batch_norm("batch_norm_relu", x, scale, shift, mean, variance, residual, training=training, eps=eps)
    norm = _statistics(x, scale, mean, variance, training, eps)
    y = _normalise(norm, shift, residual, relu=True)
    return y, BatchNormReluCache(norm, ReluCache(y), residual is not None)


def batch_norm_relu_backward(
    dy: np.ndarray, cache: BatchNormReluCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.batch_norm_relu_backward`."""
    y = cache.relu.y
    check_gradient("batch_norm_relu_backward", dy, y.shape, y.dtype)
    return _differentiate(dy, cache.norm, y, has_residual=cache.has_residual)


def _statistics(
    x: np.ndarray, scale: np.ndarray, mean: np.ndarray, variance: np.ndarray, training: bool, eps: float
) -> BatchNormCache:
    if training:
        mean, variance = _measure(x)
    return BatchNormCache(x, scale, mean, variance, 1 / np.sqrt(variance + float(eps)), training)


def _measure(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel: of each block, and then of all blocks in float64."""
    pixels = _pixels(x)
    means, squares = np.empty((2, block_count(pixels), pixels.shape[1]))  # squared distances from the block's mean
    _measure_blocks(len(means), pixels, means, squares)
    counts = np.diff([block_of(pixels, block)[0] for block in range(len(means))] + [len(pixels)])[:, None]
    mean = (counts * means).sum(axis=0) / len(pixels)
    variance = (squares + counts * (means - mean) ** 2).sum(axis=0) / len(pixels)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def _normalise(
    cache: BatchNormCache, shift: np.ndarray, residual: np.ndarray | None, *, relu: bool
) -> np.ndarray:
    """``scale · (x − mean) · rstd + shift``, plus the residual, and rectified if ``relu``."""
    x = cache.x
    y = np.empty(x.shape, x.dtype)
    none = np.empty((0, x.shape[3]), x.dtype)
    least = x.dtype.type(0 if relu else -np.inf)
    pixels = _pixels(x)
    _normalise_blocks(
        block_count(pixels), pixels, cache.mean, cache.scale * cache.rstd, shift,
        none if residual is None else _pixels(residual), least, _pixels(y),
    )  # fmt: skip
    return y


def _differentiate(
    dy: np.ndarray, cache: BatchNormCache, y: np.ndarray | None, *, has_residual: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """``dx, dscale, dshift, dresidual``; if ``y`` is given, dy is used where y is positive."""
    x, scale, mean, _, rstd, training = cache
    none = np.empty((0, x.shape[3]), x.dtype)
    pixels, gradient = _pixels(x), _pixels(dy)
    positive = none if y is None else _pixels(y)

    # y = scale · x̂ + shift with x̂ = (x − mean) · rstd
    blocks = block_count(pixels)
    sums = np.empty((2, blocks, x.shape[3]), x.dtype)
    _sum_blocks(blocks, gradient, positive, pixels, mean, sums)
    dshift, products = sums.sum(axis=1, dtype=np.float64)
    dscale = products * rstd
    # dx = gain · (dy − mean(dy) − x̂ · mean(dy·x̂)), or gain · dy with given statistics
    gain = scale * rstd
    offset, slope = (dshift / len(pixels), rstd * dscale / len(pixels)) if training else np.zeros_like(sums[:, 0])
    dx = np.empty(x.shape, x.dtype)
    dresidual = np.empty(x.shape, x.dtype) if has_residual else None
    _differentiate_blocks(
        blocks, gradient, positive, pixels, mean, gain, offset.astype(x.dtype), slope.astype(x.dtype), _pixels(dx),
        none if dresidual is None else _pixels(dresidual),
    )  # fmt: skip
    return dx, dscale.astype(x.dtype), dshift.astype(x.dtype), dresidual


def _pixels(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


@kernel
def _measure_blocks(block, x, means, squares):
    first, last = block_of(x, block)
    length = last - first
    sums = np.zeros((3, x.shape[1]), x.dtype)
    near, rest, square = sums[0], sums[1], sums[2]
    for p in range(first, last):
        pixel = x[p]
        for c in range(len(pixel)):
            near[c] += pixel[c]
    near /= x.dtype.type(length)
    # What rounding left out of the mean is the mean of the distances from it (Chan, Golub and LeVeque, 1983).
    for p in range(first, last):
        pixel = x[p]
        for c in range(len(pixel)):
            distance = pixel[c] - near[c]
            rest[c] += distance
            square[c] += distance * distance
    for c in range(len(near)):
        left_out = np.float64(rest[c]) / length
        means[block, c] = near[c] + left_out
        squares[block, c] = square[c] - length * left_out * left_out


@kernel
def _normalise_blocks(block, x, mean, gain, shift, residual, least, y):
    first, last = block_of(x, block)
    for p in range(first, last):
        pixel, out = x[p], y[p]
        if len(residual) > 0:
            more = residual[p]
            for c in range(len(pixel)):
                value = (pixel[c] - mean[c]) * gain[c] + shift[c] + more[c]
                out[c] = least if value < least else value
        else:
            for c in range(len(pixel)):
                value = (pixel[c] - mean[c]) * gain[c] + shift[c]
                out[c] = least if value < least else value


@kernel
def _sum_blocks(block, dy, y, x, mean, sums):
    zero = dy.dtype.type(0)
    first, last = block_of(x, block)
    dshift, dscale = sums[0, block], sums[1, block]
    dshift[:] = 0
    dscale[:] = 0
    for p in range(first, last):
        pixel, given = x[p], dy[p]
        if len(y) > 0:
            out = y[p]
            for c in range(len(pixel)):
                gradient = given[c] if out[c] > zero else zero
                dshift[c] += gradient
                dscale[c] += gradient * (pixel[c] - mean[c])
        else:
            for c in range(len(pixel)):
                dshift[c] += given[c]
                dscale[c] += given[c] * (pixel[c] - mean[c])


@kernel
def _differentiate_blocks(block, dy, y, x, mean, gain, offset, slope, dx, dresidual):
    zero = dy.dtype.type(0)
    blocks = block_count(x)
    first, last = block_of(x, blocks - 1 - block)  # what the sums read last is still in the cache
    for p in range(first, last):
        pixel, gradient, dpixel = x[p], dy[p], dx[p]
        if len(y) > 0:
            out = y[p]
            rectified = dresidual[p] if len(dresidual) > 0 else dpixel
            for c in range(len(pixel)):
                rectified[c] = gradient[c] if out[c] > zero else zero
            gradient = rectified
        for c in range(len(pixel)):
            dpixel[c] = gain[c] * (gradient[c] - offset[c] - (pixel[c] - mean[c]) * slope[c])
