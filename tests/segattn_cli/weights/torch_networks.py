"""The networks whose weights are imported, in plain PyTorch: names, shapes and outputs are those of the originals.

They are the importer's oracle, so nothing here uses `reference`, `backends` or `segattn_cli`. What they follow:

- torchvision: ResNet, VGG-16 and the names of their state dicts; `replace_stride_with_dilation`;
- the DANet authors' network (junfu1115/DANet, 2018) and the library that it grew from (PyTorch-Encoding);
- mmsegmentation: ResNetV1c, DAHead and the FCN head on layer3;
- DeepLab-LargeFOV, made of VGG-16 by decimation.

Every width can be made small. The names stay those of the originals.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Blocks of each stage.
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
Style = Literal["torchvision", "encoding", "mmseg"]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions. torchvision never dilates it; of those who do, PyTorch-Encoding gives the second
    convolution its stage's dilation, mmsegmentation 1.
    """

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, first: int, second: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=first, dilation=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=second, dilation=second, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions; the 3×3 has the stride and the dilation."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, first: int, second: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=first, dilation=first, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def shortcut(channels: int, out: int, stride: int) -> nn.Sequential | None:
    """A 1×1 convolution and BN where a block changes the shape, else nothing."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class ResNet(nn.Module):
    """ResNet-18, -34, -50 or -101, dilated to an output stride of 8, 16 or 32; gives the feature map of layer4.

    A stage that is dilated by d has stride 1, and d // 2 in its first block. ``multi_grid`` gives the dilations of
    layer4's blocks instead.

    ``style`` is whose names and stem: ``"torchvision"`` 7×7; ``"encoding"`` (PyTorch-Encoding, ResNeSt) 3×3 of
    64, 64, 128 in ``conv1.{0,1,3,4,6}`` and then ``bn1``; ``"mmseg"`` (V1c) 3×3 of 32, 32, 64 in ``stem.0`` to
    ``stem.8``. ``classes`` = 0 leaves out ``fc``, which takes no part here but is in the originals' files.
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        output_stride: int = 8,
        width: int = 64,
        classes: int = 1000,
        style: Style = "torchvision",
        multi_grid: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.block = BasicBlock if depth < 50 else Bottleneck
        if style == "torchvision":
            self.conv1: nn.Module = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
        elif style == "encoding":
            self.conv1 = deep_stem(width, width, 2 * width)[:-2]
            self.bn1 = nn.BatchNorm2d(2 * width)
        else:
            self.stem = deep_stem(width // 2, width // 2, width)
        channels = 2 * width if style == "encoding" else width
        strides, dilations = {
            8: ((1, 2, 1, 1), (1, 1, 2, 4)),
            16: ((1, 2, 2, 1), (1, 1, 1, 2)),
            32: ((1, 2, 2, 2), (1, 1, 1, 1)),
        }[output_stride]
        for index, (blocks, stride, dilation) in enumerate(zip(DEPTHS[depth], strides, dilations, strict=True)):
            first = [max(1, dilation // 2)] + [dilation] * (blocks - 1)
            if multi_grid and index == 3:
                first = [multi_grid[i % len(multi_grid)] for i in range(blocks)]
            stage = nn.Sequential()
            for i in range(blocks):
                second = 1 if style == "mmseg" else dilation
                stage.append(self.block(channels, width << index, stride if i == 0 else 1, first[i], second))
                channels = (width << index) * self.block.expansion
            setattr(self, f"layer{index + 1}", stage)
        self.channels = channels
        if classes:
            self.fc = nn.Linear(channels, classes)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The feature maps of layer1 to layer4."""
        x = self.stem(x) if hasattr(self, "stem") else F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, padding=1)
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1]


def deep_stem(*widths: int) -> nn.Sequential:
    """3×3 convolutions, the first with stride 2, each with BN and ReLU."""
    stem = nn.Sequential()
    channels = 3
    for width in widths:
        stem.append(nn.Conv2d(channels, width, 3, 2 if channels == 3 else 1, padding=1, bias=False))
        stem.append(nn.BatchNorm2d(width))
        stem.append(nn.ReLU())
        channels = width
    return stem


def position_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``out[n] = Σ_m softmax_m(query[n]·key[m]) value[m]`` over the positions of (B, C, H, W)."""
    energy = torch.einsum("bcn,bcm->bnm", query.flatten(2), key.flatten(2))
    return torch.einsum("bnm,bcm->bcn", energy.softmax(2), value.flatten(2)).view_as(value)


def channel_attention(x: Tensor) -> Tensor:
    """``out[i] = Σ_j softmax_j(max_k E[i,k] − E[i,j]) x[j]`` with ``E = XXᵀ`` over the channels of (B, C, H, W)."""
    energy = torch.einsum("bin,bjn->bij", x.flatten(2), x.flatten(2))
    attention = (energy.amax(2, keepdim=True) - energy).softmax(2)
    return torch.einsum("bij,bjn->bin", attention, x.flatten(2)).view_as(x)


def resized(x: Tensor, like: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=align_corners)


class AuthorsPosition(nn.Module):
    def __init__(self, channels: int, query_channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, query_channels, 1)
        self.key_conv = nn.Conv2d(channels, query_channels, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * position_attention(self.query_conv(x), self.key_conv(x), self.value_conv(x)) + x


class AuthorsChannel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * channel_attention(x) + x


class AuthorsHead(nn.Module):
    """``head.*`` of the DANet authors: score maps of the sum, of the position branch and of the channel branch.

    The original has ``channels`` = in_channels / 4 and ``query_channels`` = channels / 8.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        classes: int = 19,
        *,
        channels: int | None = None,
        query_channels: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels = channels or in_channels // 4

        def conv_norm_relu(inputs: int) -> nn.Sequential:
            conv = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())

        def classifier() -> nn.Sequential:
            return nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, classes, 1))

        self.conv5a, self.conv5c = conv_norm_relu(in_channels), conv_norm_relu(in_channels)
        self.sa = AuthorsPosition(channels, query_channels or channels // 8)
        self.sc = AuthorsChannel()
        self.conv51, self.conv52 = conv_norm_relu(channels), conv_norm_relu(channels)
        self.conv6, self.conv7, self.conv8 = classifier(), classifier(), classifier()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position = self.conv51(self.sa(self.conv5a(x)))
        channel = self.conv52(self.sc(self.conv5c(x)))
        return self.conv8(position + channel), self.conv6(position), self.conv7(channel)


class AuthorsDANet(nn.Module):
    """The DANet authors' network: ``pretrained.*`` (a ResNet with its ``fc``) and ``head.*``.

    Gives the score maps of the sum, the position and the channel branch, resized to the image with aligned corners;
    :meth:`score_maps` gives them at stride 8. Their Cityscapes models have ``multi_grid`` = (4, 8, 16).
    """

    def __init__(
        self,
        depth: int = 50,
        classes: int = 19,
        *,
        width: int = 64,
        head_channels: int | None = None,
        query_channels: int | None = None,
        output_stride: int = 8,
        multi_grid: tuple[int, ...] | None = None,
        style: Style = "torchvision",
        imagenet_classes: int = 1000,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.pretrained = ResNet(
            depth,
            output_stride=output_stride,
            width=width,
            classes=imagenet_classes,
            style=style,
            multi_grid=multi_grid,
        )
        self.head = AuthorsHead(
            self.pretrained.channels,
            classes,
            channels=head_channels,
            query_channels=query_channels,
            dropout=dropout,
        )

    def score_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.pretrained(x))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(resized(scores, x, align_corners=True) for scores in self.score_maps(x))


class ConvModule(nn.Module):
    """mmcv's convolution with BN and ReLU: ``conv.weight`` and ``bn.*``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Scale(nn.Module):
    """mmcv's learned factor: ``scale``, of no dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class MMSegPosition(nn.Module):
    """The projections are plain convolutions: ``query_project.weight``, with no ``conv`` in between."""

    def __init__(self, channels: int, query_channels: int) -> None:
        super().__init__()
        self.key_project = nn.Conv2d(channels, query_channels, 1)
        self.query_project = nn.Conv2d(channels, query_channels, 1)
        self.value_project = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        attended = position_attention(self.query_project(x), self.key_project(x), self.value_project(x))
        return self.gamma(attended) + x


class MMSegChannel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma(channel_attention(x)) + x


class DAHead(nn.Module):
    """mmsegmentation's ``decode_head.*``: score maps of the sum, the position branch and the channel branch."""

    def __init__(self, inputs: int, channels: int, query_channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.pam_in_conv = ConvModule(inputs, channels)
        self.pam = MMSegPosition(channels, query_channels)
        self.pam_out_conv = ConvModule(channels, channels)
        self.pam_conv_seg = nn.Conv2d(channels, classes, 1)
        self.cam_in_conv = ConvModule(inputs, channels)
        self.cam = MMSegChannel()
        self.cam_out_conv = ConvModule(channels, channels)
        self.cam_conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position = self.pam_out_conv(self.pam(self.pam_in_conv(x)))
        channel = self.cam_out_conv(self.cam(self.cam_in_conv(x)))
        return (
            self.conv_seg(self.dropout(position + channel)),
            self.pam_conv_seg(self.dropout(position)),
            self.cam_conv_seg(self.dropout(channel)),
        )


class FCNHead(nn.Module):
    """mmsegmentation's ``auxiliary_head.*``: one convolution and a classifier."""

    def __init__(self, inputs: int, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.convs = nn.Sequential(ConvModule(inputs, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_seg(self.dropout(self.convs(x)))


class MMSegDANet(nn.Module):
    """mmsegmentation's DANet: ``backbone.*``, ``decode_head.*``, ``auxiliary_head.*``.

    Gives the score maps of the sum, the position branch, the channel branch and the auxiliary head (on layer3),
    resized to the image; :meth:`score_maps` gives them at stride 8. ``align_corners`` is True in the configurations
    with crops of 769, and False in all others. The original's head has 512, 64 and 256 channels whatever the depth.
    """

    def __init__(
        self,
        depth: int = 50,
        classes: int = 19,
        *,
        width: int = 64,
        head_channels: int = 512,
        query_channels: int = 64,
        auxiliary_channels: int = 256,
        multi_grid: tuple[int, ...] | None = None,
        align_corners: bool = False,
        style: Style = "mmseg",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.backbone = ResNet(depth, width=width, classes=0, style=style, multi_grid=multi_grid)
        inputs = self.backbone.channels
        self.decode_head = DAHead(inputs, head_channels, query_channels, classes, dropout)
        self.auxiliary_head = FCNHead(inputs // 2, auxiliary_channels, classes, dropout)

    def score_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        _, _, layer3, layer4 = self.backbone.stages(x)
        return (*self.decode_head(layer4), self.auxiliary_head(layer3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(resized(scores, x, self.align_corners) for scores in self.score_maps(x))


class VGG16(nn.Module):
    """torchvision's VGG-16: ``features.{0,2,5,…,28}`` and ``classifier.{0,3,6}``; gives the scores of an image.

    The original has ``width`` 64 and ``hidden`` 4096, which makes ``classifier.0`` (4096, 25088) and 138 million
    parameters: 553 MB.
    """

    def __init__(self, *, width: int = 64, hidden: int = 4096, classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = vgg_features(width, [nn.MaxPool2d(2, 2) for _ in range(5)])
        self.classifier = nn.Sequential(
            nn.Linear(8 * width * 7 * 7, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 7).flatten(1))


def vgg_features(width: int, pools: list[nn.MaxPool2d], last_dilation: int = 1) -> nn.Sequential:
    """13 convolutions, 3×3, in stages of 2, 2, 3, 3, 3, each stage with its pool."""
    layers = nn.Sequential()
    channels = 3
    for stage, (count, factor) in enumerate([(2, 1), (2, 2), (3, 4), (3, 8), (3, 8)]):
        dilation = last_dilation if stage == 4 else 1
        for _ in range(count):
            layers.append(nn.Conv2d(channels, factor * width, 3, padding=dilation, dilation=dilation))
            layers.append(nn.ReLU())
            channels = factor * width
        layers.append(pools[stage])
    return layers


class LargeFOV(nn.Module):
    """DeepLab-LargeFOV: VGG-16's convolutions at stride 8, conv5 dilated by 2, fc6 3×3 dilated by 12, fc7, fc8.

    Gives the score map at stride 8; :meth:`fc7_features` gives what the classifier sees. Caffe rounds the size of a
    pooled map up, PyTorch down, as ``ceil_mode`` says; at sizes 8k + 1 it makes no difference.
    """

    def __init__(
        self,
        classes: int = 21,
        *,
        width: int = 64,
        fc_channels: int = 1024,
        dropout: float = 0.5,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        pools = [nn.MaxPool2d(3, stride, padding=1, ceil_mode=ceil_mode) for stride in (2, 2, 2, 1, 1)]
        self.features = vgg_features(width, pools, last_dilation=2)
        self.fc6 = nn.Conv2d(8 * width, fc_channels, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.fc8 = nn.Conv2d(fc_channels, classes, 1)
        self.dropout = nn.Dropout(dropout)

    def fc7_features(self, x: Tensor) -> Tensor:
        x = self.dropout(F.relu(self.fc6(self.features(x))))
        return self.dropout(F.relu(self.fc7(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc8(self.fc7_features(x))

    @classmethod
    def from_vgg16(cls, vgg: VGG16, classes: int = 21, **options: Any) -> LargeFOV:
        """Start from VGG-16: its convolutions, and every fourth unit of its two hidden layers.

        ``classifier.0`` sees 7×7 positions, channels first; fc6 keeps rows and columns 0, 3 and 6. fc8 is new.
        """
        first, second = vgg.classifier[0], vgg.classifier[3]
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        width = vgg.features[0].out_channels
        network = cls(classes, width=width, fc_channels=len(first.bias[::4]), **options).to(first.weight)
        with torch.no_grad():
            network.features.load_state_dict(vgg.features.state_dict())
            network.fc6.weight.copy_(first.weight.view(-1, 8 * width, 7, 7)[::4, :, ::3, ::3])
            network.fc6.bias.copy_(first.bias[::4])
            network.fc7.weight.copy_(second.weight[::4, ::4, None, None])
            network.fc7.bias.copy_(second.bias[::4])
        return network


@torch.no_grad()
def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Give ``module`` random weights under which every one of them counts, and return it.

    BN: mean N(0, 0.1), variance and weight in [0.5, 1.5], bias N(0, 0.1). Gates in [0.3, 0.7]. Convolutions and
    linear layers: N(0, √(1.7 / fan-in)), 1×1 kernels N(0, √(1 / fan-in)), bias N(0, 0.1). What a block adds to its
    input is damped, and query and key are scaled to energies of order 1, so that all activations stay of order 1.
    """
    numbers = torch.Generator().manual_seed(seed)

    def normal(x: Tensor, std: float) -> None:
        x.copy_(torch.randn(x.shape, generator=numbers) * std)

    def uniform(x: Tensor, low: float, high: float) -> None:
        x.copy_(low + (high - low) * torch.rand(x.shape, generator=numbers))

    for name, layer in module.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            uniform(layer.weight, 0.5, 1.5)
            normal(layer.bias, 0.1)
            normal(layer.running_mean, 0.1)
            uniform(layer.running_var, 0.5, 1.5)
            layer.num_batches_tracked.fill_(seed + 1)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            fan_in = layer.weight[0].numel()
            gain = 1.0 if layer.weight.shape[2:] == (1, 1) else 1.7
            if name.split(".")[-1] in {"query_conv", "key_conv", "query_project", "key_project"}:
                gain = len(layer.weight) ** -0.5
            normal(layer.weight, (gain / fan_in) ** 0.5)
            if layer.bias is not None:
                normal(layer.bias, 0.1)
    for name, parameter in module.named_parameters():
        if name.endswith(("gamma", "gamma.scale")):
            uniform(parameter, 0.3, 0.7)
        elif name.endswith("bn3.weight") or (name.endswith("bn2.weight") and "layer" in name):
            parameter.mul_(0.25)
    return module


def encoding_checkpoint(network: nn.Module, *, data_parallel: bool = False) -> dict[str, Any]:
    """What PyTorch-Encoding and the DANet authors save: the optimizer's momenta, too, and a NumPy scalar.

    They unwrap DataParallel before saving; ``data_parallel`` is for those who do not.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=0.003, momentum=0.9, weight_decay=1e-4)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.01)
    with torch.no_grad():
        before = {name: parameter.clone() for name, parameter in network.named_parameters()}
        optimizer.step()  # makes the momenta; the weights are put back
        for name, parameter in network.named_parameters():
            parameter.copy_(before[name])
            parameter.grad = None
    state = network.state_dict()
    if data_parallel:
        state = OrderedDict((f"module.{name}", value) for name, value in state.items())
    return {"epoch": 240, "state_dict": state, "optimizer": optimizer.state_dict(), "best_pred": np.float64(0.8665)}


def mmseg_checkpoint(network: nn.Module, classes: tuple[str, ...]) -> dict[str, Any]:
    """What mmsegmentation's model zoo has (mmcv's runner, before mmengine): ``meta`` and ``state_dict``."""
    meta = {
        "env_info": "sys.platform: linux\nPython: 3.7.7",
        "seed": 0,
        "exp_name": "danet_r50-d8_512x1024_40k_cityscapes.py",
        "mmseg_version": "0.5.0+",
        "config": "norm_cfg = dict(type='SyncBN', requires_grad=True)\n",
        "CLASSES": classes,
        "PALETTE": [[index * 10, 64, 128] for index in range(len(classes))],
        "epoch": 1,
        "iter": 40000,
        "mmcv_version": "1.0.2",
        "time": "Tue Jun  9 00:00:00 2020",
    }
    return {"meta": meta, "state_dict": network.state_dict()}
