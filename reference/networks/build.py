"""Build a network from its configuration."""

from __future__ import annotations

from reference.networks.attention_to_scale import AttentionToScale
from reference.networks.config import NetworkConfig
from reference.networks.danet import DualAttentionHead, SingleAttentionHead, channel_branch, position_branch
from reference.networks.decoder import Decoder
from reference.networks.fcn import FCNHead
from reference.networks.largefov import LargeFOVHead
from reference.networks.resnet import ResNet
from reference.networks.single_scale import Network, SingleScale, SingleScaleWithAuxiliary, SingleScaleWithDecoder
from reference.networks.tiny import Tiny
from reference.networks.vgg import VGG16


def build_network(config: NetworkConfig) -> Network:
    """The network that ``config`` describes. It holds names and shapes, no arrays.

    >>> network = build_network(NetworkConfig(classes=7, backbone="tiny", head="dual", scales=(1.0, 0.5)))
    >>> params = network.initialise(seed=0)
    >>> float(params["head.position.gate"]), params["scale_attention.conv2.weight"].shape
    (0.0, (512, 2))
    """
    backbone = _backbone(config)
    head = _head(config, backbone.channels)
    trunk = SingleScale(config, backbone, head)
    if config.auxiliary_head and isinstance(backbone, ResNet):
        channels = backbone.layer3_channels
        auxiliary = FCNHead("auxiliary_head", channels, channels // 4, config.classes)
        trunk = SingleScaleWithAuxiliary(config, backbone, head, auxiliary)
    if config.decoder and isinstance(backbone, ResNet):
        decoder = Decoder(
            "decoder", backbone.layer1_channels, head.channels, config.classes, align_corners=config.align_corners
        )
        trunk = SingleScaleWithDecoder(config, backbone, head, decoder)
    return trunk if len(config.scales) == 1 else AttentionToScale(config, trunk)


def _backbone(config: NetworkConfig) -> Tiny | VGG16 | ResNet:
    if config.backbone == "tiny":
        return Tiny("backbone", output_stride=config.output_stride)
    if config.backbone == "vgg16":
        return VGG16("backbone")
    return ResNet(
        "backbone", config.backbone, output_stride=config.output_stride, multi_grid=config.multi_grid,
        deep_stem=config.deep_stem, stem_channels=config.stem_channels,
    )


def _head(
    config: NetworkConfig, in_channels: int
) -> FCNHead | SingleAttentionHead | DualAttentionHead | LargeFOVHead:
    classes = config.classes
    if config.head == "largefov":
        return LargeFOVHead("head", in_channels, config.head_channels or 1024, classes)
    channels = config.head_channels or in_channels // 4
    if config.head == "fcn":
        return FCNHead("head", in_channels, channels, classes)
    if config.head == "position":
        branch = position_branch("head.position", in_channels, channels)
        return SingleAttentionHead("head", branch, channels, classes)
    if config.head == "channel":
        branch = channel_branch("head.channel", in_channels, channels, config.channel_form)
        return SingleAttentionHead("head", branch, channels, classes)
    return DualAttentionHead("head", in_channels, channels, classes, config.channel_form)
