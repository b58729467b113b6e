"""The head without attention, the baseline of DANet's ablation (Fu et al., CVPR 2019, table 1)."""

from __future__ import annotations

from reference.layers.base import Array, Layer, add
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm
from reference.layers.linear import Classifier
from reference.networks.outputs import HeadOutputs, Scores


class FCNHead(Layer):
    """conv 3×3, norm, ReLU, then the classifier."""

    def __init__(self, name: str, in_channels: int, channels: int, classes: int) -> None:
        self.channels = channels
        self.reduce = ConvNorm(f"{name}.reduce.conv", f"{name}.reduce.norm", in_channels, channels, 3)
        self.classifier = Classifier(f"{name}.classifier", channels, classes)

    def forward(self, x: Array, ctx: Context, *, auxiliaries: bool = True) -> HeadOutputs:
        features = self.reduce.forward(x, ctx)  # (B, h, w, C)
        return HeadOutputs(features, Scores(self.classifier.forward(features, ctx)))

    def backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> Array:
        dy = add(self.classifier.backward(dscores.main, ctx), dfeatures)
        dx, _ = self.reduce.backward(dy, ctx)
        return dx
