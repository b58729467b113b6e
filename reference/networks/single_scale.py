"""Networks of one scale: a backbone and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference.layers.base import Array, Layer, add
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm
from reference.networks.config import NetworkConfig
from reference.networks.decoder import Decoder
from reference.networks.fcn import FCNHead
from reference.networks.outputs import HeadOutputs, Outputs, Scores
from reference.networks.resnet import ResNet


class Network(Layer):
    """The base of networks of one scale and of several."""

    config: NetworkConfig
    #: What stands before the names of each scale's tensors: ``("scale 1", "scale 0.5")``, ``("",)`` with one scale.
    scopes: tuple[str, ...]

    def forward(self, images: Array, ctx: Context, *, auxiliaries: bool = True) -> Outputs:
        """The outputs for ``images (B, H, W, 3)``; without ``auxiliaries``, only those that prediction needs."""
        raise NotImplementedError

    def backward(self, doutputs: Outputs, ctx: Context) -> None:
        """Add the gradients of all parameters to ``ctx.gradients``, from those of the outputs."""
        raise NotImplementedError

    def predict(self, images: Array, ctx: Context) -> Array:
        """The scores that predict, ``(B, h, w, K)`` on the grid of scale 1."""
        return self.forward(images, ctx, auxiliaries=False).main

    def predict_with_weights(self, images: Array, ctx: Context) -> tuple[Array, Array | None]:
        """As :meth:`predict`, with the weight ``(B, h, w, S)`` of each scale, None unless attention fuses."""
        outputs = self.forward(images, ctx, auxiliaries=False)
        return outputs.main, outputs.scale_weights

    def fold(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """The parameters with every batch norm folded into its convolution, for inference."""
        folded = dict(params)
        for layer in self.sublayers():
            if isinstance(layer, ConvNorm):
                layer.fold(folded)
        return folded


class SingleScale(Network):
    """A backbone and a head."""

    def __init__(self, config: NetworkConfig, backbone: Any, head: Any) -> None:
        self.config = config
        self.scopes = ("",)
        self.backbone = backbone
        self.head = head

    def forward(self, images: Array, ctx: Context, *, auxiliaries: bool = True) -> Outputs:
        _, scores = self.head_forward(images, ctx, auxiliaries=auxiliaries)
        return Outputs(scores.main, [scores])

    def backward(self, doutputs: Outputs, ctx: Context) -> None:
        (dscores,) = doutputs.scales
        self.head_backward(None, dscores._replace(main=add(doutputs.main, dscores.main)), ctx)

    def head_forward(self, images: Array, ctx: Context, *, auxiliaries: bool) -> HeadOutputs:
        """Features and scores, from which several scales are fused."""
        return self.head.forward(self.backbone.forward(images, ctx), ctx, auxiliaries=auxiliaries)

    def head_backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> None:
        self.backbone.backward(self.head.backward(dfeatures, dscores, ctx), ctx)


class SingleScaleWithAuxiliary(SingleScale):
    """The same with a second head on layer3 of a ResNet, for training only.

    Zhao et al., PSPNet, CVPR 2017, section 4: a loss in mid-network, weighted 0.4, helps to train deep backbones.
    """

    def __init__(self, config: NetworkConfig, backbone: ResNet, head: Any, auxiliary_head: FCNHead) -> None:
        super().__init__(config, backbone, head)
        self.auxiliary_head = auxiliary_head

    def head_forward(self, images: Array, ctx: Context, *, auxiliaries: bool) -> HeadOutputs:
        if not auxiliaries:
            return super().head_forward(images, ctx, auxiliaries=False)
        middle = self.backbone.forward_to_layer3(images, ctx)  # (B, h, w, C_in / 2)
        features, scores = self.head.forward(self.backbone.forward_layer4(middle, ctx), ctx)
        _, auxiliary = self.auxiliary_head.forward(middle, ctx)
        return HeadOutputs(features, scores._replace(auxiliary=auxiliary.main))

    def head_backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> None:
        dauxiliary = self.auxiliary_head.backward(None, Scores(dscores.auxiliary), ctx)
        dmiddle = self.backbone.backward_layer4(self.head.backward(dfeatures, dscores, ctx), ctx)
        self.backbone.backward_from_layer3(dmiddle + dauxiliary, ctx)


class SingleScaleWithDecoder(SingleScale):
    """The same with a :class:`~reference.networks.decoder.Decoder` between the head and the scores that predict.

    The head's own scores become the auxiliary ones: they train the head directly, and predict nothing.
    """

    def __init__(self, config: NetworkConfig, backbone: ResNet, head: Any, decoder: Decoder) -> None:
        super().__init__(config, backbone, head)
        self.decoder = decoder

    def head_forward(self, images: Array, ctx: Context, *, auxiliaries: bool) -> HeadOutputs:
        layer1 = self.backbone.forward_to_layer1(images, ctx)  # (B, H/4, W/4, C₁)
        deep = self.backbone.forward_layer4(self.backbone.forward_layer2_to_3(layer1, ctx), ctx)
        coarse, head = self.head.forward(deep, ctx, auxiliaries=auxiliaries)  # (B, h, w, C)
        features, decoded = self.decoder.forward(coarse, layer1, ctx)  # (B, H/4, W/4, C)
        if not auxiliaries:
            return HeadOutputs(features, decoded)
        return HeadOutputs(features, head._replace(main=decoded.main, auxiliary=head.main))

    def head_backward(self, dfeatures: Array | None, dscores: Scores, ctx: Context) -> None:
        dcoarse, dlayer1 = self.decoder.backward(dfeatures, dscores.main, ctx)
        dhead = dscores._replace(main=dscores.auxiliary, auxiliary=None)
        ddeep = self.head.backward(dcoarse, dhead, ctx)
        dlayer1 = dlayer1 + self.backbone.backward_layer2_to_3(self.backbone.backward_layer4(ddeep, ctx), ctx)
        self.backbone.backward_from_layer1(dlayer1, ctx)
