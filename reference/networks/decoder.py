"""A decoder of one level: the features of a head, on the grid of a ResNet's layer1, four pixels of the image.

The top-down step of Feature Pyramid Networks (Lin et al., CVPR 2017, figure 3), with batch norms and ReLUs::

    y = smooth(ReLU(norm(conv_1×1(layer1)) + resize(features)))

At an output stride of 16 or 8, what is a few pixels wide (a pole, a sign) is less than one pixel of the features.
Neither DANet nor Attention to Scale has a decoder.
"""

from __future__ import annotations

from reference.layers.base import Array, Layer, add
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm
from reference.layers.linear import Classifier
from reference.networks.outputs import HeadOutputs, Scores


class Decoder(Layer):
    """``(B, h, w, C)`` and layer1's ``(B, h₁, w₁, C₁) → (B, h₁, w₁, C)``, and the scores of these features."""

    def __init__(
        self, name: str, layer1_channels: int, channels: int, classes: int, *, align_corners: bool
    ) -> None:
        self.name = name
        self.align_corners = align_corners
        self.lateral = ConvNorm(f"{name}.lateral.conv", f"{name}.lateral.norm", layer1_channels, channels, 1)
        self.smooth = ConvNorm(f"{name}.smooth.conv", f"{name}.smooth.norm", channels, channels, 3)
        self.classifier = Classifier(f"{name}.classifier", channels, classes)

    def forward(self, features: Array, layer1: Array, ctx: Context) -> HeadOutputs:
        resized = ctx.ops.resize_bilinear(features, layer1.shape[1:3], align_corners=self.align_corners)
        top_down = ctx.save(f"{self.name}.resized", resized)  # (B, h₁, w₁, C)
        merged = self.lateral.forward(layer1, ctx, top_down)
        y = self.smooth.forward(merged, ctx)
        return HeadOutputs(y, Scores(self.classifier.forward(y, ctx)))

    def backward(self, dy: Array | None, dscores: Array, ctx: Context) -> tuple[Array, Array]:
        """Return the gradients of the features and of layer1."""
        dy = add(self.classifier.backward(dscores, ctx), dy)
        dmerged, _ = self.smooth.backward(dy, ctx)
        dlayer1, dtop_down = self.lateral.backward(dmerged, ctx)
        return ctx.ops.resize_bilinear_backward(dtop_down, ctx.saved(f"{self.name}.resized")), dlayer1
