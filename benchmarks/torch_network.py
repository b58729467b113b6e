"""The networks of segattn in plain PyTorch, for :mod:`benchmarks.torch_training`.

Written as one would write them with PyTorch alone, from the same blocks as the baseline of ``segattn bench``. They
share nothing with the project but the names of settings and parameters, so both can start from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.torch_losses import map_loss
from segattn_cli.benchmarking.baselines.torch_danet import (
    ChannelBranch,
    ConvNorm,
    PositionBranch,
    ResNet,
    ScaleAttention,
)

Scores = dict[str, Tensor]  # by the part of the loss: "main", "position", "channel", "auxiliary"


class Outputs(NamedTuple):
    """The score maps of one pass."""

    main: Tensor  # (B, K, h, w): fused, where there are several scales
    scales: list[Scores]  # of each scale; (B, K, h, w) on the grid of scale 1
    scale_weights: Tensor | None  # (B, S, h, w)
    scale_classes: Tensor | None  # (S + 1, B, S + 1): which scale each map came from


class TorchNetwork(nn.Module):
    """A backbone, a head and, with several scales, their fusion: ``(B, 3, H, W) → Outputs``.

    The arguments are keys of segattn's ``[network]``. ``dropout`` turns all dropouts on or off.
    """

    def __init__(
        self, classes: int, *, backbone: str, output_stride: int, multi_grid: Sequence[int] | None, head: str,
        head_channels: int | None, channel_form: str, scales: Sequence[float], fusion: str,
        scale_attention_channels: int, scale_classifier: str, align_corners: bool, decoder: bool,
        dropout: bool = True,
    ) -> None:
        super().__init__()
        self.scales, self.fusion, self.align_corners = tuple(scales), fusion, align_corners
        self.detached = scale_classifier == "detached"
        self.backbone: nn.Module
        if backbone == "tiny":
            self.backbone, channels = Tiny(output_stride), Tiny.channels
        elif backbone == "vgg16":
            self.backbone, channels = VGG16(), VGG16.channels
        else:
            self.backbone = ResNet(backbone, output_stride, multi_grid)
            channels = self.backbone.channels
        self.head: LargeFOV | Head
        if head == "largefov":
            self.head = LargeFOV(channels, head_channels or 1024, classes, dropout)
        else:
            self.head = Head(head, channels, head_channels or channels // 4, classes, channel_form, dropout)
        self.decoder = None
        if decoder:
            self.decoder = Decoder(channels // 8, self.head.channels, classes, align_corners, dropout)
        several = len(self.scales)
        if several > 1 and fusion == "attention":
            self.scale_attention = ScaleAttention(self.head.channels, several, scale_attention_channels)
        self.scale_dropout = nn.Dropout(0.5 if dropout else 0.0)
        self.scale_classifier = None
        if scale_classifier != "none":
            self.scale_classifier = nn.Conv2d(classes, several + 1, 1)

    def forward(self, images: Tensor) -> Outputs:
        if len(self.scales) == 1:
            _, scores = self.at_scale(images)
            return Outputs(scores["main"], [scores], None, None)
        height, width = images.shape[2:]
        sizes = [(max(round(height * scale), 1), max(round(width * scale), 1)) for scale in self.scales]
        resized = [self.resize(images, size) for size in sizes]
        features, native = zip(*(self.at_scale(each) for each in resized), strict=True)
        grid = features[self.scales.index(1.0)].shape[2:]
        scales = [{part: self.resize(scores, grid) for part, scores in each.items()} for each in native]
        fused, weights = self.fuse([self.resize(each, grid) for each in features], [s["main"] for s in scales])
        scale_classes = None
        if self.scale_classifier is not None:
            maps = [each.mean((2, 3)) for each in (fused, *(scores["main"] for scores in native))]
            pooled = torch.stack(maps)  # (S + 1, B, K)
            pooled = pooled.detach() if self.detached else pooled
            scale_classes = self.scale_classifier(pooled.flatten(0, 1)[:, :, None, None])
            scale_classes = scale_classes.reshape(len(maps), -1, len(maps))
        return Outputs(fused, scales, weights, scale_classes)

    def at_scale(self, images: Tensor) -> tuple[Tensor, Scores]:
        """The features and the scores of the images at one size."""
        if self.decoder is None:
            return self.head(self.backbone(images))
        backbone = self.backbone
        assert isinstance(backbone, ResNet)
        layer1 = backbone.to_layer1(images)
        coarse, scores = self.head(backbone.layer4(backbone.layer3(backbone.layer2(layer1))))
        features, decoded = self.decoder(coarse, layer1)
        return features, {**scores, "main": decoded, "auxiliary": scores["main"]}

    def fuse(self, features: list[Tensor], scores: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The fused scores, and the weights of the scales where attention fuses."""
        stacked = torch.stack(scores, dim=1)  # (B, S, K, h, w)
        if self.fusion == "max":
            return stacked.amax(dim=1), None
        if self.fusion == "mean":
            return stacked.mean(dim=1), None
        attention = self.scale_attention
        hidden = self.scale_dropout(F.relu(attention.conv1(torch.cat(features, dim=1))))
        weights = torch.softmax(attention.conv2(hidden), dim=1)  # (B, S, h, w)
        return (weights[:, :, None] * stacked).sum(dim=1), weights

    def loss(
        self, images: Tensor, labels: Tensor, weights: Mapping[str, Any], class_weights: Tensor | None = None
    ) -> Tensor:
        """The weighted sum of the losses of all score maps of ``images (B, 3, H, W)`` against ``labels (B, H, W)``.

        ``weights`` has the keys of segattn's ``[loss]``; the weight of the main map's loss is 1.
        """

        def loss_of(scores: Tensor) -> Tensor:
            return map_loss(self.resize(scores, labels.shape[1:]), labels, weights, class_weights)

        outputs = self(images)
        total = loss_of(outputs.main)
        for scores in outputs.scales:
            if len(outputs.scales) > 1 and weights["extra_supervision"]:
                total = total + weights["extra_supervision"] * loss_of(scores["main"])
            for part in ("position", "channel", "auxiliary"):
                if part in scores:
                    total = total + weights[part] / len(outputs.scales) * loss_of(scores[part])
        if outputs.scale_classes is not None:
            maps, batch, _ = outputs.scale_classes.shape
            targets = torch.arange(maps).repeat_interleave(batch)
            ce = F.cross_entropy(outputs.scale_classes.flatten(0, 1), targets)
            total = total + weights["scale_classifier"] * ce
        return total

    def resize(self, x: Tensor, size: Sequence[int]) -> Tensor:
        if x.shape[2:] == tuple(size):
            return x
        return F.interpolate(x, tuple(size), mode="bilinear", align_corners=self.align_corners)


class Head(nn.Module):
    """``fcn``, ``position``, ``channel`` or ``dual``: features, and the scores by the part of the loss."""

    def __init__(
        self, kind: str, inputs: int, channels: int, classes: int, channel_form: str, dropout: bool
    ) -> None:
        super().__init__()
        self.kind, self.channels = kind, channels
        if kind == "fcn":
            self.reduce = ConvNorm(inputs, channels)
        if kind in ("position", "dual"):
            self.position = PositionBranch(inputs, channels, classes)
        if kind in ("channel", "dual"):
            self.channel = ChannelBranch(inputs, channels, classes, channel_form)
        if kind in ("position", "channel"):
            del self.get_submodule(kind).classifier  # a branch alone has no loss of its own
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.dropout = nn.Dropout2d(0.1 if dropout else 0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Scores]:
        if self.kind != "dual":
            branch = self.reduce if self.kind == "fcn" else self.get_submodule(self.kind)
            features = branch(x)
            return features, {"main": self.classifier(self.dropout(features))}
        position, channel = self.position(x), self.channel(x)
        features = position + channel
        return features, {
            "main": self.classifier(self.dropout(features)),
            "position": self.position.classifier(self.dropout(position)),
            "channel": self.channel.classifier(self.dropout(channel)),
        }


class Decoder(nn.Module):
    """The head's features, resized and added to those of layer1: features and their scores."""

    def __init__(self, inputs: int, channels: int, classes: int, align_corners: bool, dropout: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.lateral = nn.Module()
        self.lateral.conv, self.lateral.norm = nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.smooth = ConvNorm(channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.dropout = nn.Dropout2d(0.1 if dropout else 0.0)

    def forward(self, features: Tensor, layer1: Tensor) -> tuple[Tensor, Tensor]:
        resized = F.interpolate(features, layer1.shape[2:], mode="bilinear", align_corners=self.align_corners)
        y = self.smooth(F.relu(self.lateral.norm(self.lateral.conv(layer1)) + resized))
        return y, self.classifier(self.dropout(y))


class LargeFOV(nn.Module):
    """fc6, fc7 and fc8 of DeepLab-LargeFOV."""

    def __init__(self, inputs: int, channels: int, classes: int, dropout: bool) -> None:
        super().__init__()
        self.channels = channels
        self.fc6 = nn.Conv2d(inputs, channels, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.fc8 = nn.Conv2d(channels, classes, 1)
        self.dropout = nn.Dropout(0.5 if dropout else 0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Scores]:
        x = self.dropout(F.relu(self.fc6(x)))
        features = self.dropout(F.relu(self.fc7(x)))
        return features, {"main": self.fc8(features)}


class Tiny(nn.Module):
    """Five convolutions with batch norms; output stride 4 or 8."""

    channels = 128

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        #           channels in and out, stride, dilation
        stages = ((3, 16, 2, 1), (16, 32, 2, 1), (32, 64, output_stride // 4, 1), (64, 64, 1, 1), (64, 128, 1, 2))
        self.count = len(stages)
        for i, (inputs, outputs, stride, dilation) in enumerate(stages, 1):
            conv = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.count + 1):
            x = F.relu(self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x)))
        return x


class VGG16(nn.Module):
    """DeepLab's VGG-16: the last two pools have stride 1, and the last three convolutions dilation 2."""

    channels = 512
    #: Of each stage: number of convolutions, channels, dilation, stride of the pool after it.
    STAGES = ((2, 64, 1, 2), (2, 128, 1, 2), (3, 256, 1, 2), (3, 512, 1, 1), (3, 512, 2, 1))

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for stage, (count, width, dilation, _) in enumerate(self.STAGES, 1):
            for i in range(1, count + 1):
                conv = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
                self.add_module(f"conv{stage}_{i}", conv)
                channels = width

    def forward(self, x: Tensor) -> Tensor:
        for stage, (count, *_, stride) in enumerate(self.STAGES, 1):
            for i in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{i}")(x))
            x = F.max_pool2d(x, 3, stride, padding=1)
        return x
