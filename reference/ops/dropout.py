"""Dropout (Srivastava et al., 2014) with a mask that the caller draws."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.ops.checks import OpError, check_arrays, check_gradient


class DropoutCache(NamedTuple):
    mask: np.ndarray  # boolean, broadcasts to x
    rate: float
    x_shape: tuple[int, ...]
    dtype: np.dtype


def dropout(x: np.ndarray, mask: np.ndarray, *, rate: float) -> tuple[np.ndarray, DropoutCache]:
    """``y = x / (1 − rate)`` where ``mask`` is True, 0 elsewhere. The expectation of y is x.

    ``mask`` is boolean and broadcasts to ``x``, of any shape and floating dtype: a mask of shape ``(B, 1, 1, C)``
    drops whole channels. The op draws no random numbers, so that a pass can be repeated exactly; each value of
    ``mask`` should be True with probability ``1 − rate``. Caches the mask.

    Raises :class:`OpError` for a mask that is not boolean or does not broadcast, and a rate outside [0, 1).

    >>> y, cache = dropout(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]), rate=0.5)
    >>> y
    array([2., 0., 6.])
    """
    check_arrays("dropout", x=(x, "..."))
    check_mask("dropout", mask, x.shape)
    if not 0 <= rate < 1:
        raise OpError(f"dropout: rate is {rate}, wants at least 0 and less than 1.")

    y = np.where(mask, x / (1 - float(rate)), 0)
    return y, DropoutCache(mask, float(rate), x.shape, x.dtype)


def dropout_backward(dy: np.ndarray, cache: DropoutCache) -> np.ndarray:
    """From ``dy``: ``dx``, both of the shape of ``x``; the op is its own transpose.

    >>> y, cache = dropout(np.ones((1, 1, 2, 2)), np.array([True, False]), rate=0.75)
    >>> dropout_backward(np.ones_like(y), cache).ravel()
    array([4., 0., 4., 0.])
    """
    check_gradient("dropout_backward", dy, cache.x_shape, cache.dtype)
    # y = np.where(mask, x / (1 - float(rate)), 0)
    return np.where(cache.mask, dy / (1 - cache.rate), 0)


def check_mask(op: str, mask: Any, shape: tuple[int, ...]) -> None:
    """Check that ``mask`` is boolean and broadcasts to ``shape``.

    >>> check_mask("dropout", np.ones((2, 1, 1, 8), bool), (2, 5, 5, 4))
    Traceback (most recent call last):
    reference.ops.checks.OpError: dropout: mask has shape (2, 1, 1, 8), wants one that broadcasts to (2, 5, 5, 4).
    """
    if not hasattr(mask, "shape") or mask.dtype.kind != "b":
        raise OpError(f"{op}: mask is {getattr(mask, 'dtype', type(mask).__name__)}, wants an array of bool.")
    pairs = zip(reversed(mask.shape), reversed(shape), strict=False)
    if len(mask.shape) > len(shape) or any(size not in (1, wanted) for size, wanted in pairs):
        raise OpError(f"{op}: mask has shape {mask.shape}, wants one that broadcasts to {shape}.")
