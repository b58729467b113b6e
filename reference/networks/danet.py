"""The heads of DANet (Fu et al., CVPR 2019, figure 2): dual attention, and each attention alone.

A branch is conv 3×3 to a quarter of the channels, its attention, and a second conv 3×3, both with norm and ReLU.
The two branches share no weights. Their outputs are summed, and three classifiers score the sum and each branch:
training has three losses, prediction uses the scores of the sum.
"""

from __future__ import annotations

from reference.layers.attention import ChannelAttention, PositionAttention
from reference.layers.base import Array, Layer, add
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm
from reference.layers.linear import Classifier
from reference.networks.outputs import HeadOutputs, Scores


class AttentionBranch(Layer):
    """Reduce, attend, refine: ``(B, h, w, C_in) → (B, h, w, C)``."""

    def __init__(
        self, name: str, in_channels: int, channels: int, attention: PositionAttention | ChannelAttention
    ) -> None:
        self.reduce = ConvNorm(f"{name}.reduce.conv", f"{name}.reduce.norm", in_channels, channels, 3)
        self.attention = attention
        self.refine = ConvNorm(f"{name}.refine.conv", f"{name}.refine.norm", channels, channels, 3)

    def forward(self, x: Array, ctx: Context) -> Array:
        return self.forward_reduced(self.reduce.forward(x, ctx), ctx)

    def backward(self, dy: Array, ctx: Context) -> Array:
        dx, _ = self.reduce.backward(self.backward_reduced(dy, ctx), ctx)
        return dx

    def forward_reduced(self, x: Array, ctx: Context) -> Array:
        """All but the first convolution: ``(B, h, w, C) → (B, h, w, C)``."""
        x = self.attention.forward(x, ctx)
        return self.refine.forward(x, ctx)

    def backward_reduced(self, dy: Array, ctx: Context) -> Array:
        dy, _ = self.refine.backward(dy, ctx)
        return self.attention.backward(dy, ctx)


def position_branch(name: str, in_channels: int, channels: int) -> AttentionBranch:
    """The branch of position attention."""
    return AttentionBranch(name, in_channels, channels, PositionAttention(name, channels))


def channel_branch(name: str, in_channels: int, channels: int, form: str) -> AttentionBranch:
    """The branch of channel attention."""
    return AttentionBranch(name, in_channels, channels, ChannelAttention(name, form))


class SingleAttentionHead(Layer):
    """One branch and its classifier: the rows PAM and CAM of the paper's ablation."""

    def __init__(self, name: str, branch: AttentionBranch, channels: int, classes: int) -> None:
        self.channels = channels
        self.branch = branch
        self.classifier = Classifier(f"{name}.classifier", channels, classes)

    def forward(self, x: Array, ctx: Context, *, auxiliaries: bool = True) -> HeadOutputs:
        features = self.branch.forward(x, ctx)  # (B, h, w, C)
        return HeadOutputs(features, Scores(self.classifier.forward(features, ctx)))

    def backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> Array:
        dy = add(self.classifier.backward(dscores.main, ctx), dfeatures)
        return self.branch.backward(dy, ctx)


class DualAttentionHead(Layer):
    """Both branches and their sum; with ``auxiliaries`` also the scores of each branch."""

    def __init__(self, name: str, in_channels: int, channels: int, classes: int, channel_form: str) -> None:
        self.channels = channels
        self.position = position_branch(f"{name}.position", in_channels, channels)
        self.channel = channel_branch(f"{name}.channel", in_channels, channels, channel_form)
        self.classifier = Classifier(f"{name}.classifier", channels, classes)
        self.position_classifier = Classifier(f"{name}.position.classifier", channels, classes)
        self.channel_classifier = Classifier(f"{name}.channel.classifier", channels, classes)

    def forward(self, x: Array, ctx: Context, *, auxiliaries: bool = True) -> HeadOutputs:
        position = self.position.reduce.forward(x, ctx)  # (B, h, w, C)
        channel = self.channel.reduce.forward(x, ctx)  # (B, h, w, C)
        del x  # at inference this frees the largest array of the network
        position = self.position.forward_reduced(position, ctx)  # (B, h, w, C)
        channel = self.channel.forward_reduced(channel, ctx)  # (B, h, w, C)
        features = position + channel
        main = self.classifier.forward(features, ctx)  # (B, h, w, K)
        if not auxiliaries:
            return HeadOutputs(features, Scores(main))
        position_scores = self.position_classifier.forward(position, ctx)
        channel_scores = self.channel_classifier.forward(channel, ctx)
        return HeadOutputs(features, Scores(main, position_scores, channel_scores))

    def backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> Array:
        dposition = dchannel = None
        if dscores.channel is not None:
            dchannel = self.channel_classifier.backward(dscores.channel, ctx)
            dposition = self.position_classifier.backward(dscores.position, ctx)
        dsum = add(self.classifier.backward(dscores.main, ctx), dfeatures)
        dchannel = self.channel.backward_reduced(add(dsum, dchannel), ctx)
        dposition = self.position.backward_reduced(add(dsum, dposition), ctx)
        dx_channel, _ = self.channel.reduce.backward(dchannel, ctx)
        dx_position, _ = self.position.reduce.backward(dposition, ctx)
        return dx_position + dx_channel
