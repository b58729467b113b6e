"""Batch norms over the batches of several ranks, computed as if they were one batch."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

from reference.layers.base import Array
from reference.layers.context import BatchStatistics, Share


class SynchronisedCache(NamedTuple):
    x: Array  # (B, H, W, C)
    scale: Array  # (C,)
    rstd: Array  # (C,)
    statistics: BatchStatistics  # over all ranks
    norm: Any  # the cache of the norm with these statistics


def synchronised_norm(
    ops: Any, x: Array, scale: Array, shift: Array, residual: Array | None, share: Share, *, relu: bool,
    eps: float = 1e-5,
) -> tuple[Array, SynchronisedCache]:
    """:func:`reference.ops.batch_norm`, or with ``relu`` ``batch_norm_relu``, by the statistics of all ranks. ::

        μ = mean of all μ_r
        σ² = mean of all σ²_r + (μ_r − μ)²

    μ_r and σ²_r are the mean and the biased variance on rank r; they are pooled in the order of the ranks
    (:meth:`BatchStatistics.pooled`), never as ``mean(x²) − mean²``. Each rank has as many pixels.

    Shapes: ``x (B, H, W, C)``, ``scale`` and ``shift (C,)``, ``residual (B, H, W, C)`` or None → ``(B, H, W, C)``.

    >>> import numpy as np
    >>> import reference.ops
    >>> x, one = np.array([1.0, 3.0]).reshape(1, 1, 2, 1), np.ones(1)
    >>> other = [np.array([6.0]), np.array([1.0])]  # the mean and the variance on another rank
    >>> y, cache = synchronised_norm(reference.ops, x, one, 0 * one, None, lambda own: [own, other], relu=False)
    >>> cache.statistics
    BatchStatistics(mean=array([4.]), variance=array([5.]), count=4)
    """
    _, own = ops.batch_norm(x, scale, shift, scale, scale, training=True, eps=eps)  # for its statistics alone
    everyone = share([own.mean, own.variance])
    pixels = x.size // x.shape[-1]
    statistics = reduce(BatchStatistics.pooled, (BatchStatistics(m, v, pixels) for m, v in everyone))
    mean, variance = (each.astype(own.mean.dtype, copy=False) for each in (statistics.mean, statistics.variance))
    if relu:
        y, norm = ops.batch_norm_relu(x, scale, shift, mean, variance, residual, training=False, eps=eps)
    else:
        y, norm = ops.batch_norm(x, scale, shift, mean, variance, training=False, eps=eps)
    rstd = 1 / (variance + eps) ** 0.5  # (C,)
    return y, SynchronisedCache(x, scale, rstd, BatchStatistics(mean, variance, statistics.count), norm)


def synchronised_norm_backward(
    ops: Any, dy: Array, cache: SynchronisedCache, share: Share, *, relu: bool
) -> tuple[Array, Array, Array, Array | None]:
    """From ``dy (B, H, W, C)``: ``dx``, this rank's part of ``dscale`` and ``dshift``, and the residual's gradient.

    A pixel of any rank moves the statistics of all, so the means of :func:`reference.ops.batch_norm_backward` are
    over the M pixels of all ranks::

        dx = γ / √(σ² + ε) · (dy − (Σ_r dshift_r + x̂ · Σ_r dscale_r) / M)
    """
    # y = norm(x) with given statistics
    if relu:
        dx, dscale, dshift, dresidual = ops.batch_norm_relu_backward(dy, cache.norm)
    else:
        (dx, dscale, dshift), dresidual = ops.batch_norm_backward(dy, cache.norm), None
    # statistics = pooled over the ranks
    everyone = share([dscale, dshift])
    total_scale, total_shift = (sum(column[1:], column[0]) for column in zip(*everyone, strict=True))  # (C,)
    gain = cache.scale * cache.rstd / cache.statistics.count  # (C,)
    x_hat = (cache.x - cache.statistics.mean) * cache.rstd  # (B, H, W, C)
    dx = dx - gain * (total_shift + x_hat * total_scale)  # (B, H, W, C)
    return dx.astype(cache.x.dtype, copy=False), dscale, dshift, dresidual
