"""Batch normalisation, with or without a residual and ReLU, in the fewest passes over memory.

Forward, one pass computes the statistics and one normalises; backward, one pass computes the sums and one dx.
Within a pass, each block of pixels goes through all steps while it is in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.numpy.threads import for_each, sum_over
from reference.ops.batch_norm import BatchNormCache, check_batch_norm
from reference.ops.batch_norm_relu import BatchNormReluCache
from reference.ops.checks import check_gradient
from reference.ops.relu import ReluCache

#: Values in a block, and in a folded row of it.
_BLOCK, _ROW = 1 << 17, 1 << 12


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
    """See :func:`reference.ops.batch_norm`.

    >>> x, one, zero = np.array([1.0, 2.0, 3.0, 6.0]).reshape(1, 2, 2, 1), np.ones(1), np.zeros(1)
    >>> y, cache = batch_norm(x, one, zero, zero, one, training=True)
    >>> cache.mean, cache.variance
    (array([3.]), array([3.5]))
    """
    check_batch_norm("batch_norm", x, scale, shift, mean, variance, training=training, eps=eps)
    cache = _statistics(x, scale, mean, variance, training, eps)
    return _normalise(cache, shift), cache


def batch_norm_backward(dy: np.ndarray, cache: BatchNormCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`reference.ops.batch_norm_backward`."""
    check_gradient("batch_norm_backward", dy, cache.x.shape, cache.x.dtype)
    dy = np.ascontiguousarray(dy)
    dshift, dscale = _sums(dy, cache)
    return _input_gradient(dy, cache, dshift, dscale), dscale, dshift


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
    """See :func:`reference.ops.batch_norm_relu`.

    >>> x, one, zero = np.array([-1.0, 1.0]).reshape(1, 1, 2, 1), np.ones(1), np.zeros(1)
    >>> y, cache = batch_norm_relu(x, one, zero, zero, one, x + 3, training=True)
    >>> y.ravel().round(3)
    array([1., 5.])
    """
    check_batch_norm("batch_norm_relu", x, scale, shift, mean, variance, residual, training=training, eps=eps)
    norm = _statistics(x, scale, mean, variance, training, eps)
    residual = None if residual is None else np.ascontiguousarray(residual)
    y = _normalise(norm, shift, residual, relu=True)
    return y, BatchNormReluCache(norm, ReluCache(y), residual is not None)


def batch_norm_relu_backward(
    dy: np.ndarray, cache: BatchNormReluCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See :func:`reference.ops.batch_norm_relu_backward`."""
    y = cache.relu.y
    check_gradient("batch_norm_relu_backward", dy, y.shape, y.dtype)
    dtotal = np.empty(dy.shape, dy.dtype)
    dshift, dscale = _sums(np.ascontiguousarray(dy), cache.norm, y, dtotal)
    if cache.has_residual:
        return _input_gradient(dtotal, cache.norm, dshift, dscale), dscale, dshift, dtotal
    return _input_gradient(dtotal, cache.norm, dshift, dscale, out=dtotal), dscale, dshift, None


def _statistics(
    x: np.ndarray, scale: np.ndarray, mean: np.ndarray, variance: np.ndarray, training: bool, eps: float
) -> BatchNormCache:
    x = np.ascontiguousarray(x)
    if training:
        mean, variance = _measure(x)
    return BatchNormCache(x, scale, mean, variance, 1 / np.sqrt(variance + float(eps)), training)


def _measure(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel, in one pass: of each block, then of all blocks together."""
    blocks = _blocks(x)
    counts = np.array([[block.length] for block in blocks])
    means = np.empty((len(blocks), x.shape[-1]))
    squares = np.empty_like(means)  # sums of squared distances from the block's mean

    def measure(number: int) -> None:
        block = blocks[number]
        values = block.of(x)
        means[number] = block.channels(values.sum(axis=0)) / block.length
        centred = values - block.row(means[number].astype(x.dtype))
        squares[number] = block.channels(np.einsum("rc,rc->c", centred, centred))

    for_each(measure, range(len(blocks)))
    mean = (counts * means).sum(axis=0) / counts.sum()
    variance = (squares + counts * (means - mean) ** 2).sum(axis=0) / counts.sum()
    return mean.astype(x.dtype), variance.astype(x.dtype)


def _normalise(
    cache: BatchNormCache, shift: np.ndarray, residual: np.ndarray | None = None, *, relu: bool = False
) -> np.ndarray:
    """``scale · (x − mean) · rstd + shift``, plus the residual, and rectified if ``relu``."""
    x, gain = cache.x, cache.scale * cache.rstd
    y = np.empty(x.shape, x.dtype)
    zeros = np.zeros_like(shift)

    def normalise(block: Block) -> None:
        out = block.of(y)
        np.subtract(block.of(x), block.row(cache.mean), out=out)
        out *= block.row(gain)
        out += block.row(shift)
        if residual is not None:
            out += block.of(residual)
        if relu:
            np.maximum(out, block.row(zeros), out=out)  # faster than with the scalar 0

    for_each(normalise, _blocks(x))
    return y


def _sums(
    dy: np.ndarray, cache: BatchNormCache, y: np.ndarray | None = None, dtotal: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """``dshift = Σ dy`` and ``dscale = Σ dy·x̂``; with ``y``, of ``dtotal``: dy where y is positive."""

    def add(block: Block) -> tuple[np.ndarray, np.ndarray]:
        gradient = block.of(dy)
        if y is not None and dtotal is not None:
            gradient = np.multiply(gradient, block.of(y) > 0, out=block.of(dtotal))
        centred = block.of(cache.x) - block.row(cache.mean)
        return (
            block.channels(gradient.sum(axis=0)),
            block.channels(np.einsum("rc,rc->c", gradient, centred)),
        )

    dshift, products = sum_over(add, _blocks(dy))
    return dshift.astype(dy.dtype), (products * cache.rstd).astype(dy.dtype)


def _input_gradient(
    dy: np.ndarray, cache: BatchNormCache, dshift: np.ndarray, dscale: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """``dx = gain · (dy − mean(dy) − x̂ · mean(dy·x̂))``, or ``gain · dy`` with given statistics."""
    dx = np.empty(dy.shape, dy.dtype) if out is None else out
    gain = cache.scale * cache.rstd
    pixels = dy.size // dy.shape[-1]
    slope = gain * cache.rstd * dscale / pixels
    offset = gain * dshift / pixels

    def differentiate(block: Block) -> None:
        np.multiply(block.of(dy), block.row(gain), out=block.of(dx))
        if cache.training:
            removed = block.of(cache.x) - block.row(cache.mean)
            removed *= block.row(slope)
            removed += block.row(offset)
            block.of(dx)[...] -= removed

    for_each(differentiate, _blocks(dy))
    return dx


class Block(NamedTuple):
    """Some pixels of a map, several of them in a row, since NumPy is faster on long rows."""

    pixels: slice
    fold: int

    @property
    def length(self) -> int:
        return self.pixels.stop - self.pixels.start

    def of(self, x: np.ndarray) -> np.ndarray:
        """The block's part of a contiguous map ``x (B, H, W, C)``: a view ``(length / fold, fold·C)``."""
        channels = x.shape[-1]
        return x.reshape(-1, channels)[self.pixels].reshape(-1, self.fold * channels)

    def row(self, channels: np.ndarray) -> np.ndarray:
        """Values ``(C,)`` of channels, repeated for a row: ``(fold·C,)``."""
        return np.tile(channels, self.fold)

    def channels(self, row: np.ndarray) -> np.ndarray:
        """A row of partial sums ``(fold·C,)``, added up for each channel in float64: ``(C,)``."""
        return row.reshape(self.fold, -1).sum(axis=0, dtype=np.float64)


def _blocks(x: np.ndarray) -> list[Block]:
    pixels, channels = x.size // x.shape[-1], x.shape[-1]
    fold = 1 << max(0, (_ROW // channels).bit_length() - 1)
    count = fold * max(1, _BLOCK // (fold * channels))
    whole = pixels - pixels % fold
    blocks = [Block(slice(first, min(first + count, whole)), fold) for first in range(0, whole, count)]
    return blocks + ([Block(slice(whole, pixels), 1)] if whole < pixels else [])
