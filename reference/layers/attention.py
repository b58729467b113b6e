"""The two attention modules of DANet (Fu et al., CVPR 2019, sections 3.2 and 3.3), each with its gate."""

from __future__ import annotations

import numpy as np

from reference.layers.base import Array, Layer
from reference.layers.context import Context
from reference.layers.linear import Linear


class PositionAttention(Layer):
    """Every pixel attends to every pixel: equations 1 and 2 of the paper, figure 3(A).

    ============================  ========  =====================================================
    in the paper                  here      shape, with N = H·W
    ============================  ========  =====================================================
    A, the input                  x         (B, N, C)
    B, C, D, three convolutions   query,    (B, N, C/8), (B, N, C/8) and (B, N, C); the paper's text has C
                                  key,      channels for all three, the authors' code C/8 for two
                                  value
    S = softmax(B·Cᵀ)             –         (N, N), which no fast backend holds as a whole
    E = α·(S·D) + A               y         (B, N, C)
    α, 0 at the start             gate      ()
    ============================  ========  =====================================================
    """

    def __init__(self, name: str, channels: int) -> None:
        self.gate = f"{name}.gate"
        self.attended = f"{name}.attended"
        inner = max(channels // 8, 1)
        self.query = Linear(f"{name}.query", channels, inner)
        self.key = Linear(f"{name}.key", channels, inner)
        self.value = Linear(f"{name}.value", channels, channels)

    def initial_values(self, seed: int | None) -> dict[str, np.ndarray]:
        return {self.gate: np.zeros((), np.float32)}

    def forward(self, x: Array, ctx: Context) -> Array:
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])  # (B, N, C)
        query = self.query.forward(tokens, ctx)  # (B, N, C/8)
        key = self.key.forward(tokens, ctx)  # (B, N, C/8)
        value = self.value.forward(tokens, ctx)  # (B, N, C)
        attended = ctx.save(self.attended, ctx.ops.position_attention(query, key, value))
        gate = ctx.params[self.gate]
        y = ctx.save(self.gate, ctx.ops.gated_residual(tokens, attended, gate))
        return y.reshape(x.shape)

    def backward(self, dy: Array, ctx: Context) -> Array:
        shape = dy.shape
        dy = dy.reshape(shape[0], -1, shape[-1])  # (B, N, C)
        dtokens, dattended, dgate = ctx.ops.gated_residual_backward(dy, ctx.saved(self.gate))
        ctx.accumulate(self.gate, dgate)
        cache = ctx.saved(self.attended)
        dquery, dkey, dvalue = ctx.ops.position_attention_backward(dattended, cache)
        dtokens = dtokens + self.value.backward(dvalue, ctx)
        dtokens = dtokens + self.key.backward(dkey, ctx)
        dtokens = dtokens + self.query.backward(dquery, ctx)
        return dtokens.reshape(shape)


class ChannelAttention(Layer):
    """Every channel attends to every channel: equations 3 and 4 of the paper, figure 3(B).

    No convolution comes before it. ``form`` chooses the map: the paper's, ``X = softmax(Aᵀ·A)``, or that of the
    released code, a softmax of the negated energy, which gives the *least* similar channels the largest weights.
    ``E = β·(X·A) + A``, and the gate β is 0 at the start.
    """

    def __init__(self, name: str, form: str) -> None:
        self.gate = f"{name}.gate"
        self.attended = f"{name}.attended"
        self.form = form

    def initial_values(self, seed: int | None) -> dict[str, np.ndarray]:
        return {self.gate: np.zeros((), np.float32)}

    def forward(self, x: Array, ctx: Context) -> Array:
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])  # (B, N, C)
        attended = ctx.save(self.attended, ctx.ops.channel_attention(tokens, form=self.form))
        gate = ctx.params[self.gate]
        y = ctx.save(self.gate, ctx.ops.gated_residual(tokens, attended, gate))
        return y.reshape(x.shape)

    def backward(self, dy: Array, ctx: Context) -> Array:
        shape = dy.shape
        dy = dy.reshape(shape[0], -1, shape[-1])  # (B, N, C)
        dtokens, dattended, dgate = ctx.ops.gated_residual_backward(dy, ctx.saved(self.gate))
        ctx.accumulate(self.gate, dgate)
        cache = ctx.saved(self.attended)
        dtokens = dtokens + ctx.ops.channel_attention_backward(dattended, cache)
        return dtokens.reshape(shape)
