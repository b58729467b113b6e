"""Channel attention: the ``numpy`` backend's, with compiled products."""

from __future__ import annotations

from typing import Literal

import numpy as np

from backends.numba import products
from backends.numpy.channel_attention import attend, differentiate
from reference.ops.channel_attention import ChannelAttentionCache


def channel_attention(
    x: np.ndarray, *, form: Literal["released", "paper"] = "released"
) -> tuple[np.ndarray, ChannelAttentionCache]:
    """See :func:`reference.ops.channel_attention`."""
    return attend(products, x, form)


def channel_attention_backward(dy: np.ndarray, cache: ChannelAttentionCache) -> np.ndarray:
    """See :func:`reference.ops.channel_attention_backward`."""
    return differentiate(products, dy, cache)
