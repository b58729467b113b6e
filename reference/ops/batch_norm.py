"""Batch normalisation (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays, check_gradient
from reference.ops.sums import channel_mean, channel_sum


class BatchNormCache(NamedTuple):
    x: np.ndarray  # (B, H, W, C)
    scale: np.ndarray  # (C,)
    mean: np.ndarray  # (C,)
    variance: np.ndarray  # (C,), biased
    rstd: np.ndarray  # (C,)
    training: bool


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
    """Give every channel mean ``shift`` and standard deviation ``scale``: algorithm 1 of the paper. ::

        x̂ = (x − μ) / √(σ² + ε)
        y = γ x̂ + β

    with γ = ``scale`` and β = ``shift``. When training, μ and σ² are the mean and the biased variance of this
    batch (σ² divides by the number of pixels M = B·H·W), and the arguments ``mean`` and ``variance`` are ignored;
    otherwise they are those arguments, the running averages, and the whole op is one affine map per channel.

    Shapes: ``x (B, H, W, C)``, all others ``(C,)``, of one floating dtype → ``(B, H, W, C)``.

    Caches x and the statistics, from which x̂ is one subtraction and one product away. ``cache.mean`` and
    ``cache.variance`` are what the trainer needs for its running averages. The variance is computed from
    ``x − mean``, never as ``mean(x²) − mean²``, which loses all digits where the mean is large.

    Raises :class:`OpError` for shapes or dtypes that do not fit and for an ``eps`` that is not positive: a
    constant channel has variance 0.

    >>> x = np.array([1.0, 2.0, 3.0, 6.0]).reshape(1, 2, 2, 1)
    >>> one, zero = np.ones(1), np.zeros(1)
    >>> y, cache = batch_norm(x, one, zero, zero, one, training=True)
    >>> cache.mean, cache.variance
    (array([3.]), array([3.5]))
    >>> y, cache = batch_norm(x, one, zero, zero, one, training=False)
    >>> np.allclose(y, x, rtol=1e-5)  # mean 0 and variance 1 leave x as it is, up to ε
    True
    """
    check_batch_norm("batch_norm", x, scale, shift, mean, variance, training=training, eps=eps)

    if training:
        mean = channel_mean(x)  # (C,)
        variance = channel_mean((x - mean) ** 2)  # (C,)
    rstd = 1 / np.sqrt(variance + float(eps))  # (C,)
    x_hat = (x - mean) * rstd  # (B, H, W, C)
    y = scale * x_hat + shift  # (B, H, W, C)
    return y, BatchNormCache(x, scale, mean, variance, rstd, training)


def batch_norm_backward(dy: np.ndarray, cache: BatchNormCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From ``dy (B, H, W, C)``: ``dx (B, H, W, C)``, ``dscale (C,)`` and ``dshift (C,)``.

    When training, every x also moves the mean and the variance of its channel. The three paths add up to ::

        dx = γ / √(σ² + ε) · (dy − mean(dy) − x̂ · mean(dy · x̂))

    with means over the M pixels: what a shift or a scaling of the channel would cause is subtracted from dy, since
    the op undoes both. With given statistics, only the first of the three is there.

    >>> x, one, zero = np.arange(4.0).reshape(1, 2, 2, 1), np.ones(1), np.zeros(1)
    >>> y, cache = batch_norm(x, one, zero, zero, one, training=True)
    >>> dx, dscale, dshift = batch_norm_backward(np.ones_like(y), cache)
    >>> np.abs(dx).max(), dshift  # a constant dy is a shift of the channel, which x cannot cause
    (np.float64(0.0), array([4.]))
    """
    x, scale, mean, _, rstd, training = cache
    check_gradient("batch_norm_backward", dy, x.shape, x.dtype)

    x_hat = (x - mean) * rstd  # (B, H, W, C)
    # y = scale * x_hat + shift
    dshift = channel_sum(dy)  # (C,)
    dscale = channel_sum(dy * x_hat)  # (C,)
    if training:
        # mean = channel_mean(x)
        # variance = channel_mean((x - mean) ** 2)
        pixels = x.size // len(scale)
        dy = dy - (dshift + x_hat * dscale) / pixels  # (B, H, W, C)
    # x_hat = (x - mean) * rstd
    dx = scale * rstd * dy  # (B, H, W, C)
    return dx, dscale, dshift


def check_batch_norm(
    op: str, x: Any, scale: Any, shift: Any, mean: Any, variance: Any, residual: Any = None, *, training: bool,
    eps: float,
) -> None:
    """Check the arguments of a batch norm, fused or not; the running averages only if they are used."""
    check_arrays(
        op,
        x=(x, "B H W C"),
        scale=(scale, "C"),
        shift=(shift, "C"),
        mean=(None if training else mean, "C"),
        variance=(None if training else variance, "C"),
        residual=(residual, "B H W C"),
    )
    if not eps > 0:
        raise OpError(f"{op}: eps is {eps}, wants a positive number.")
