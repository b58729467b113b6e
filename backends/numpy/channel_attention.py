"""Channel attention: its large products in blocks of pixels; the attention itself is only ``(C, C)``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from backends.numpy import products
from reference.ops.channel_attention import SIGNS, ChannelAttentionCache
from reference.ops.checks import OpError, check_arrays, check_gradient
from reference.ops.softmax import softmax, softmax_backward


def channel_attention(
    x: np.ndarray, *, form: Literal["released", "paper"] = "released"
) -> tuple[np.ndarray, ChannelAttentionCache]:
    """See :func:`reference.ops.channel_attention`.

    >>> x = np.array([[[5.0, 5.0, 0.0], [0.0, 0.0, 2.0]]])
    >>> y, cache = channel_attention(x, form="paper")
    >>> y.round(2)
    array([[[5.  , 5.  , 0.18],
            [0.  , 0.  , 1.93]]])
    """
    return attend(products, x, form)


def channel_attention_backward(dy: np.ndarray, cache: ChannelAttentionCache) -> np.ndarray:
    """See :func:`reference.ops.channel_attention_backward`.

    >>> y, cache = channel_attention(np.zeros((1, 1, 2)))
    >>> channel_attention_backward(np.array([[[4.0, 0.0]]]), cache)
    array([[[2., 2.]]])
    """
    return differentiate(products, dy, cache)


def attend(
    products: Any, x: np.ndarray, form: Literal["released", "paper"]
) -> tuple[np.ndarray, ChannelAttentionCache]:
    """The op, whose large products are computed by the module ``products``."""
    check_arrays("channel_attention", x=(x, "B N C"))
    if form not in SIGNS:
        raise OpError(f"channel_attention: form is {form!r}, wants one of {', '.join(SIGNS)}.")
    sign = SIGNS[form]

    energy = np.stack([products.multiply_transposed(image, image) for image in x])  # (B, C, C)
    attention, softmax_cache = softmax(sign * energy)  # (B, C, C), rows are queries
    y = np.stack([products.multiply(image, a.T) for image, a in zip(x, attention, strict=True)])  # (B, N, C)
    return y, ChannelAttentionCache(x, softmax_cache, sign)


def differentiate(products: Any, dy: np.ndarray, cache: ChannelAttentionCache) -> np.ndarray:
    x, softmax_cache, sign = cache
    check_gradient("channel_attention_backward", dy, x.shape, x.dtype)

    # y = x @ attention.T
    dattention = np.stack([products.multiply_transposed(*image) for image in zip(dy, x, strict=True)])  # (B, C, C)
    # attention, softmax_cache = softmax(sign * energy)
    denergy = sign * softmax_backward(dattention, softmax_cache)  # (B, C, C)
    # energy = x.T @ x: x is a query and a key
    symmetric = denergy + denergy.mT
    dx = np.empty(x.shape, x.dtype)
    for image, (values, queries) in enumerate(zip(softmax_cache.y, symmetric, strict=True)):
        np.add(products.multiply(dy[image], values), products.multiply(x[image], queries), out=dx[image])
    return dx
