"""DANet on a dilated ResNet-18 in plain PyTorch, as one would write it: the peer of the ``numpy`` backend.

It shares nothing with the project but the names of parameters, so ``load`` can give both the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=first, dilation=first, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, padding=second, dilation=second, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + identity, inplace=True)


class ResNet18(nn.Module):
    """Output stride 8: the last two stages are dilated by 2 and 4 instead of strided."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1, (1, 1)), BasicBlock(64, 64, 1, (1, 1)))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2, (1, 1)), BasicBlock(128, 128, 1, (1, 1)))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 1, (1, 2)), BasicBlock(256, 256, 1, (2, 2)))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 1, (2, 4)), BasicBlock(512, 512, 1, (4, 4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, 2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class PositionBranch(nn.Module):
    def __init__(self, inputs: int, channels: int, classes: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(inputs, channels)
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gate = nn.Parameter(torch.zeros(()))
        self.refine = ConvNorm(channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.reduce(x)
        query, key, value = (f(x).flatten(2) for f in (self.query, self.key, self.value))  # (B, ·, N)
        attention = torch.softmax(query.mT @ key, dim=-1)  # (B, N, N)
        attended = (value @ attention.mT).view_as(x)
        return self.refine(self.gate * attended + x)


class ChannelBranch(nn.Module):
    def __init__(self, inputs: int, channels: int, classes: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(inputs, channels)
        self.gate = nn.Parameter(torch.zeros(()))
        self.refine = ConvNorm(channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.reduce(x)
        flat = x.flatten(2)  # (B, C, N)
        energy = flat @ flat.mT  # (B, C, C)
        attention = torch.softmax(energy.amax(dim=-1, keepdim=True) - energy, dim=-1)
        return self.refine(self.gate * (attention @ flat).view_as(x) + x)


class DualHead(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        channels = inputs // 4
        self.position = PositionBranch(inputs, channels, classes)
        self.channel = ChannelBranch(inputs, channels, classes)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        position, channel = self.position(x), self.channel(x)
        return [
            self.classifier(position + channel),
            self.position.classifier(position),
            self.channel.classifier(channel),
        ]


class DANet(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = ResNet18()
        self.head = DualHead(512, classes)

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the three cross-entropies of ``images (B, 3, H, W)`` against ``labels (B, H, W)``."""
        scores = self.head(self.backbone(images))
        full = [F.interpolate(s, labels.shape[1:], mode="bilinear", align_corners=False) for s in scores]
        return sum((F.cross_entropy(s, labels, ignore_index=255) for s in full), torch.zeros(()))

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Take the project's parameters; its convolutions are (kh, kw, in, out), its linear maps (in, out)."""
        state = {}
        for name, tensor in self.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                state[name] = to_torch(params[name]).reshape(tensor.shape)
        self.load_state_dict(state, strict=False)


def to_torch(parameter: np.ndarray) -> torch.Tensor:
    """One parameter, or its gradient, in PyTorch's order of axes: outputs and inputs first."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(parameter.ndim, range(parameter.ndim))
    return torch.from_numpy(np.ascontiguousarray(parameter.transpose(axes)))
