"""The small network that predicts the weight of each scale at each pixel (Chen et al., CVPR 2016, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from reference.layers.base import Array, Layer
from reference.layers.context import Context
from reference.layers.convolution import ConvRelu
from reference.layers.initial import zeros
from reference.layers.linear import Dropout, Linear


class ScaleAttention(Layer):
    """Features of all scales, concatenated → conv 3×3, ReLU, dropout 0.5 → conv 1×1 → one logit a scale.

    The last convolution starts at zero, so training starts from equal weights, which is mean fusion. The first
    starts at random: if both were zero, neither would ever get a gradient.
    """

    def __init__(self, name: str, in_channels: int, channels: int, scales: int) -> None:
        self.scales = scales
        self.conv1 = ConvRelu(f"{name}.conv1", scales * in_channels, channels, 3)
        self.dropout = Dropout(f"{name}.dropout", 0.5)
        self.conv2 = Linear(f"{name}.conv2", channels, scales, init=zeros)

    def forward(self, features: Sequence[Array], ctx: Context) -> Array:
        x = ctx.ops.concatenate(features)  # (B, h, w, S·C)
        x = self.conv1.forward(x, ctx)
        x = self.dropout.forward(x, ctx)
        return self.conv2.forward(x, ctx)  # (B, h, w, S)

    def backward(self, dlogits: Array, ctx: Context) -> list[Array]:
        """Return the gradient of each scale's features."""
        dx = self.conv2.backward(dlogits, ctx)
        dx = self.dropout.backward(dx, ctx)
        dx = self.conv1.backward(dx, ctx)
        width = dx.shape[-1] // self.scales
        return [dx[..., s * width : (s + 1) * width] for s in range(self.scales)]
