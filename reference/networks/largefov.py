"""fc6, fc7 and fc8 of DeepLab-LargeFOV (Chen et al., ICLR 2015): the head of Attention to Scale's trunk."""

from __future__ import annotations

from reference.layers.base import Array, Layer, add
from reference.layers.context import Context
from reference.layers.convolution import ConvRelu
from reference.layers.initial import gaussian
from reference.layers.linear import Dropout, Linear
from reference.networks.outputs import HeadOutputs, Scores


class LargeFOVHead(Layer):
    """conv 3×3 with dilation 12, conv 1×1, both with ReLU and dropout 0.5, then the classifier.

    The scale attention takes the features of fc7.
    """

    def __init__(self, name: str, in_channels: int, channels: int, classes: int) -> None:
        self.channels = channels
        self.fc6 = ConvRelu(f"{name}.fc6", in_channels, channels, 3, dilation=12)
        self.drop6 = Dropout(f"{name}.drop6", 0.5)
        self.fc7 = ConvRelu(f"{name}.fc7", channels, channels, 1)
        self.drop7 = Dropout(f"{name}.drop7", 0.5)
        self.fc8 = Linear(f"{name}.fc8", channels, classes, init=gaussian(0.01))

    def forward(self, x: Array, ctx: Context, *, auxiliaries: bool = True) -> HeadOutputs:
        x = self.drop6.forward(self.fc6.forward(x, ctx), ctx)
        features = self.drop7.forward(self.fc7.forward(x, ctx), ctx)  # (B, h, w, C)
        return HeadOutputs(features, Scores(self.fc8.forward(features, ctx)))

    def backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> Array:
        dy = add(self.fc8.backward(dscores.main, ctx), dfeatures)
        dy = self.fc7.backward(self.drop7.backward(dy, ctx), ctx)
        return self.fc6.backward(self.drop6.backward(dy, ctx), ctx)
