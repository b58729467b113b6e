"""The two residual blocks of ResNet (He et al., CVPR 2016, figure 5), with dilation."""

from __future__ import annotations

from reference.layers.base import Array, Layer
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm


class ResidualBlock(Layer):
    """``y = relu(convolutions(x) + shortcut(x))``; the last convolution's layer adds the shortcut and rectifies.

    The shortcut is ``x``, or a 1×1 convolution and norm of ``x`` if the size or the number of channels changes.
    """

    def __init__(self, name: str, convolutions: list[ConvNorm], *, stride: int) -> None:
        *self.inner, self.last = convolutions
        in_channels, out_channels = convolutions[0].conv.shape[2], self.last.conv.shape[3]
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = ConvNorm(
                f"{name}.downsample.0", f"{name}.downsample.1", in_channels, out_channels, 1, stride=stride,
                relu=False,
            )

    def forward(self, x: Array, ctx: Context) -> Array:
        y = x
        for conv in self.inner:
            y = conv.forward(y, ctx)
        # After them, since it is the largest array of the block, and only the last convolution needs it.
        shortcut = x if self.downsample is None else self.downsample.forward(x, ctx)
        return self.last.forward(y, ctx, residual=shortcut)

    def backward(self, dy: Array, ctx: Context) -> Array:
        dx, dshortcut = self.last.backward(dy, ctx)
        if self.downsample is not None:
            dshortcut, _ = self.downsample.backward(dshortcut, ctx)
        for conv in reversed(self.inner):
            dx, _ = conv.backward(dx, ctx)
        return dx + dshortcut


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions: the block of ResNet-18 and ResNet-34."""

    expansion = 1

    def __init__(
        self, name: str, in_channels: int, width: int, *, stride: int, first_dilation: int, dilation: int
    ) -> None:
        convolutions = [
            ConvNorm(
                f"{name}.conv1", f"{name}.bn1", in_channels, width, 3, stride=stride, dilation=first_dilation
            ),
            ConvNorm(f"{name}.conv2", f"{name}.bn2", width, width, 3, dilation=dilation),
        ]
        super().__init__(name, convolutions, stride=stride)


class Bottleneck(ResidualBlock):
    """1×1, 3×3 and 1×1 convolutions: the block of ResNet-50 and ResNet-101. The 3×3 has the stride."""

    expansion = 4

    def __init__(
        self, name: str, in_channels: int, width: int, *, stride: int, first_dilation: int, dilation: int
    ) -> None:
        convolutions = [
            ConvNorm(f"{name}.conv1", f"{name}.bn1", in_channels, width, 1),
            ConvNorm(
                f"{name}.conv2", f"{name}.bn2", width, width, 3, stride=stride, dilation=first_dilation
            ),
            ConvNorm(f"{name}.conv3", f"{name}.bn3", width, width * self.expansion, 1),
        ]
        super().__init__(name, convolutions, stride=stride)
