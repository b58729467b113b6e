"""VGG-16 as DeepLab-LargeFOV uses it (Chen et al., ICLR 2015), the backbone of Attention to Scale.

The last two pools have stride 1, and the convolutions after the fourth have dilation 2: output stride 8.
DeepLab's fc6 to fc8 are the head :class:`reference.networks.largefov.LargeFOVHead`.
"""

from __future__ import annotations

from reference.layers.base import Array, Layer
from reference.layers.context import Context
from reference.layers.convolution import ConvRelu

#: Of each stage: number of convolutions, channels, dilation, stride of the pool after it.
STAGES = ((2, 64, 1, 2), (2, 128, 1, 2), (3, 256, 1, 2), (3, 512, 1, 1), (3, 512, 2, 1))


class VGG16(Layer):
    """``(B, H, W, 3) → (B, H/8, W/8, 512)``, sizes rounded up. Parameters ``name.conv1_1.weight`` and so on."""

    channels = 512

    def __init__(self, name: str) -> None:
        self.name = name
        self.convolutions: list[list[ConvRelu]] = []
        channels = 3
        for stage, (count, width, dilation, _) in enumerate(STAGES, 1):
            convolutions = []
            for index in range(1, count + 1):
                convolutions.append(ConvRelu(f"{name}.conv{stage}_{index}", channels, width, 3, dilation=dilation))
                channels = width
            self.convolutions.append(convolutions)

    def forward(self, x: Array, ctx: Context) -> Array:
        for stage, (convolutions, (*_, stride)) in enumerate(zip(self.convolutions, STAGES, strict=True), 1):
            for conv in convolutions:
                x = conv.forward(x, ctx)
            x = ctx.save(f"{self.name}.pool{stage}", ctx.ops.max_pool2d(x, window=3, stride=stride, padding=1))
        return x

    def backward(self, dy: Array, ctx: Context) -> None:
        """The gradients of the parameters; that of the image is not needed."""
        first = self.convolutions[0][0]
        for stage, convolutions in reversed(list(enumerate(self.convolutions, 1))):
            dy = ctx.ops.max_pool2d_backward(dy, ctx.saved(f"{self.name}.pool{stage}"))
            for conv in reversed(convolutions):
                dy = conv.backward(dy, ctx, needs_dx=conv is not first)
