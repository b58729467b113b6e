"""Batch normalisation, a residual that is added, and ReLU: the three steps between two convolutions, as one op."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.ops.batch_norm import BatchNormCache, batch_norm, batch_norm_backward, check_batch_norm
from reference.ops.relu import ReluCache, relu, relu_backward


class BatchNormReluCache(NamedTuple):
    norm: BatchNormCache
    relu: ReluCache
    has_residual: bool

    @property
    def mean(self) -> np.ndarray:
        return self.norm.mean  # (C,)

    @property
    def variance(self) -> np.ndarray:
        return self.norm.variance  # (C,), biased


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
    """``y = relu(batch_norm(x) + residual)``: the end of a residual block (He et al., 2016), or of a simple layer.

    The arithmetic is that of :func:`batch_norm` and :func:`relu`. It is one op so that a fast backend can do in one
    pass over memory what takes three here.

    Shapes: ``x`` and ``residual (B, H, W, C)``, all others ``(C,)``, of one floating dtype → ``(B, H, W, C)``.
    Caches what its parts cache; ``cache.mean`` and ``cache.variance`` are those of the batch norm. Raises
    :class:`OpError` for shapes or dtypes that do not fit.

    >>> x, one, zero = np.array([-1.0, 1.0]).reshape(1, 1, 2, 1), np.ones(1), np.zeros(1)
    >>> y, cache = batch_norm_relu(x, one, zero, zero, one, x + 3, training=True)
    >>> y.ravel().round(3)
    array([1., 5.])
    """
    check_batch_norm("batch_norm_relu", x, scale, shift, mean, variance, residual, training=training, eps=eps)

    normed, norm_cache = batch_norm(x, scale, shift, mean, variance, training=training, eps=eps)
    total = normed if residual is None else normed + residual  # (B, H, W, C)
    y, relu_cache = relu(total)
    return y, BatchNormReluCache(norm_cache, relu_cache, residual is not None)


def batch_norm_relu_backward(
    dy: np.ndarray, cache: BatchNormReluCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """From ``dy (B, H, W, C)``: ``dx``, ``dscale``, ``dshift``, and ``dresidual`` or None.

    >>> x, one, zero = np.array([-1.0, 1.0]).reshape(1, 1, 2, 1), np.ones(1), np.zeros(1)
    >>> y, cache = batch_norm_relu(x, one, zero, zero, one, training=False)
    >>> dx, dscale, dshift, dresidual = batch_norm_relu_backward(np.ones_like(y), cache)
    >>> dx.ravel().round(3), dresidual
    (array([0., 1.]), None)
    """
    # y, relu_cache = relu(total)
    dtotal = relu_backward(dy, cache.relu)  # (B, H, W, C)
    # total = normed if residual is None else normed + residual
    dnormed = dtotal
    dresidual = dtotal if cache.has_residual else None  # (B, H, W, C)
    # normed, norm_cache = batch_norm(x, scale, shift, mean, variance, training=training, eps=eps)
    dx, dscale, dshift = batch_norm_backward(dnormed, cache.norm)
    return dx, dscale, dshift, dresidual
