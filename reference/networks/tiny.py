"""A backbone of five convolutions, which trains in a minute on a CPU."""

from __future__ import annotations

from reference.layers.base import Array, Layer
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm


class Tiny(Layer):
    """``(B, H, W, 3) → (B, H/s, W/s, 128)`` with output stride s = 4 or 8, sizes rounded up."""

    channels = 128

    def __init__(self, name: str, *, output_stride: int = 8) -> None:
        last_stride = output_stride // 4
        #           channels in and out, stride, dilation
        stages = ((3, 16, 2, 1), (16, 32, 2, 1), (32, 64, last_stride, 1), (64, 64, 1, 1), (64, 128, 1, 2))
        self.convolutions = [
            ConvNorm(f"{name}.conv{i}", f"{name}.bn{i}", c_in, c_out, 3, stride=stride, dilation=dilation)
            for i, (c_in, c_out, stride, dilation) in enumerate(stages, 1)
        ]

    def forward(self, x: Array, ctx: Context) -> Array:
        for conv in self.convolutions:
            x = conv.forward(x, ctx)
        return x

    def backward(self, dy: Array, ctx: Context) -> None:
        """The gradients of the parameters; that of the image is not needed."""
        first, *others = self.convolutions
        for conv in reversed(others):
            dy, _ = conv.backward(dy, ctx)
        first.backward(dy, ctx, needs_dx=False)
