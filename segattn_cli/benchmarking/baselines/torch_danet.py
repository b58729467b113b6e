"""DANet on dilated ResNets, at one scale or several, in plain PyTorch: the baseline of ``segattn bench``.

Written as one would write it with PyTorch alone. It shares nothing with the project but the names of parameters, so
``load`` can give both the same weights.

In 16 bits there are two ways: autocast over float32 weights, and a network whose weights have 16 bits themselves,
all but the norms'. In float16 the loss is scaled by a constant; rate and decay make up for it, at no cost.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segattn_cli.benchmarking.baselines.torch_ops import (
    HALVES,
    position_attention,
    position_attention_padded_sdpa,
    position_attention_split_sdpa,
    prepare,
    to_numpy,
)

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-4
#: What the loss is multiplied by in float16.
LOSS_SCALE = 1024.0
#: How the position branch attends; arguments and result are tokens ``(B, N, C)``.
ATTENTIONS = {
    "plain": position_attention,
    "sdpa": position_attention_padded_sdpa,
    "split sdpa": position_attention_split_sdpa,
}


class TorchNetwork:
    """A network on given images, a train step and an inference as often as wanted."""

    def __init__(
        self, network: DANet, layout: str, images: np.ndarray, labels: np.ndarray, passes: Sequence[str],
        *, device: str = "cpu", precision: str = "float32", autocast: bool = True, folded: bool = False,
        compiled: bool = False,
    ) -> None:
        half = HALVES.get(precision)
        self.autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
        if half and autocast:
            self.autocast = partial(torch.autocast, device, half)
        own = None if autocast else half  # the weights' dtype, where that is not float32
        memory_format = torch.channels_last if layout == "channels-last" else torch.contiguous_format
        network = network.to(device, memory_format=memory_format)
        on_device = torch.from_numpy(images).to(device, own).permute(0, 3, 1, 2)
        self.images = on_device.contiguous(memory_format=memory_format)
        both: dict[str, Callable[[], None]] = {"train": self.train, "infer": self.infer}
        self.passes = {each: both[each] for each in passes}
        self.loss: Tensor | None = None
        self.scores: Tensor | None = None
        self.scale = LOSS_SCALE if precision == "float16" else 1.0
        self.predicting: nn.Module = nn.Module()
        if "infer" in passes:
            # Training changes the weights and the statistics of norms.
            self.predicting = (copy.deepcopy(network) if "train" in passes else network).eval()
            if folded:
                fold(self.predicting)
                self.predicting.to(memory_format=memory_format)
            to_half(self.predicting, own)
        self.network = network
        self.loss_of: Callable[..., Tensor] = network.loss
        if "train" in passes:
            to_half(network, own)
            network.train()
            self.labels = torch.from_numpy(labels).to(device).long()
            self.optimiser = fastest_sgd(network, self.scale)
        if compiled:
            self.loss_of = torch.compile(self.loss_of)
            self.predicting = torch.compile(self.predicting)

    def train(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with self.autocast():
            self.loss = self.loss_of(self.images, self.labels)
        (self.loss if self.scale == 1 else self.loss * self.scale).backward()
        self.optimiser.step()

    def infer(self) -> None:
        self.scores = None
        with torch.inference_mode(), self.autocast():
            scores = self.predicting(self.images)
            self.scores = F.interpolate(scores, self.images.shape[2:], mode="bilinear", align_corners=False)

    def results(self) -> dict[str, np.ndarray]:
        """Loss, gradients and scores of the last calls, in the project's order of axes."""
        found = {}
        if self.loss is not None:
            found["loss"] = to_numpy(self.loss)
            gradients = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
            found |= {f"d {name}": from_torch(name, gradient) for name, gradient in gradients.items()}
            if self.scale != 1:
                for name in gradients:
                    found[f"d {name}"] = found[f"d {name}"].astype(np.float32) / np.float32(self.scale)
        if self.scores is not None:
            found["scores"] = to_numpy(self.scores.permute(0, 2, 3, 1))
        return found


def danet_variants(
    backbone: str, classes: int, scales: Sequence[float], params: Mapping[str, np.ndarray], images: np.ndarray,
    labels: np.ndarray, passes: Sequence[str], *, layouts: Sequence[str] = ("contiguous", "channels-last"),
    device: str = "cpu", precision: str = "float32", compiled: bool = False,
) -> Iterator[tuple[str, Callable[[], TorchNetwork]]]:
    """The network in every variant, by name; each is prepared when it is called for."""
    prepare(device, precision)

    def build(layout: str, attention: str, passes: Sequence[str] = passes, **how: bool) -> TorchNetwork:
        network = DANet(backbone, classes, scales, attention=attention)
        network.load(params)
        return TorchNetwork(network, layout, images, labels, passes, device=device, precision=precision, **how)

    if device == "cpu":
        for layout in layouts:
            yield layout, partial(build, layout, "plain")
            yield f"{layout} sdpa", partial(build, layout, "sdpa")
    else:
        yield from _variants_on_a_gpu(build, passes, precision)
    if compiled:
        yield "channels-last compiled", partial(build, "channels-last", "plain", compiled=True)


def _variants_on_a_gpu(
    build: Callable[..., TorchNetwork], passes: Sequence[str], precision: str
) -> Iterator[tuple[str, Callable[[], TorchNetwork]]]:
    """In float32 in both layouts, in other precisions in the layout of the matrix instructions."""
    last = "channels-last"
    if precision == "float32":
        yield "contiguous", partial(build, "contiguous", "plain")
    attentions, weights = ["plain"], ""
    if precision in HALVES:
        yield f"{last} autocast", partial(build, last, "plain")
        attentions, weights = ["plain", "split sdpa"], f" {precision}"
    for attention in attentions:
        name = f"{last}{weights}" + (f" {attention}" if attention != "plain" else "")
        yield name, partial(build, last, attention, autocast=False)
        if "infer" in passes:
            yield f"{name} folded", partial(build, last, attention, ("infer",), autocast=False, folded=True)


def fold(network: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place, for inference."""
    for module in list(network.modules()):
        before, convolution = "", None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, child))
                setattr(module, name, nn.Identity())
            before, convolution = name, child


def to_half(network: nn.Module, dtype: torch.dtype | None) -> None:
    """Give all parameters but the norms' 16 bits, in place, where ``dtype`` says which."""
    if dtype is None:
        return
    for module in network.modules():
        if not isinstance(module, nn.BatchNorm2d):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def fastest_sgd(network: nn.Module, scale: float = 1.0, trials: int = 3) -> torch.optim.SGD:
    """The faster of PyTorch's SGDs, tried on steps of length 0; on a GPU the fused one. Undoes ``scale``."""
    rate, decay = LEARNING_RATE / scale, WEIGHT_DECAY * scale
    if next(network.parameters()).is_cuda:
        return torch.optim.SGD(network.parameters(), rate, momentum=MOMENTUM, weight_decay=decay, fused=True)
    optimisers = {}
    for options in ({"foreach": True}, {"fused": True}):
        optimiser = torch.optim.SGD(network.parameters(), rate, momentum=MOMENTUM, weight_decay=decay, **options)
        for group in optimiser.param_groups:
            group["lr"] = 0.0
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
            # There before the first step, which would make it inside the clock. Of zeros, it is the same.
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        seconds = []
        for _ in range(trials):
            start = time.perf_counter()
            optimiser.step()
            seconds.append(time.perf_counter() - start)
        for group in optimiser.param_groups:
            group["lr"] = rate
        for parameter in network.parameters():
            optimiser.state[parameter]["momentum_buffer"].zero_()
        optimiser.zero_grad(set_to_none=True)
        optimisers[min(seconds)] = optimiser
    return optimisers[min(optimisers)]


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=first, dilation=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, padding=second, dilation=second, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + identity, inplace=True)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        dilation, _ = dilations
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + identity, inplace=True)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


BACKBONES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
#: By output stride: stride and dilations (first block's, all others') of the four stages.
STAGES = {
    8: ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)),
    16: ((1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)),
    32: ((1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)),
}


class ResNet(nn.Module):
    """At output strides 8 and 16, the last stages are dilated instead of strided."""

    def __init__(self, name: str, output_stride: int = 8, multi_grid: Sequence[int] | None = None) -> None:
        super().__init__()
        block, counts = BACKBONES[name]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.channels = 64
        stages = zip(counts, STAGES[output_stride], strict=True)
        for number, (count, (stride, first, dilation)) in enumerate(stages, 1):
            blocks = []
            for index in range(count):
                width = 64 * 2 ** (number - 1)
                dilations = (dilation if index else first, dilation)
                if number == 4 and multi_grid is not None:
                    dilations = (multi_grid[index], dilation)
                blocks.append(block(self.channels, width, 1 if index else stride, dilations))
                self.channels = width * block.expansion
            setattr(self, f"layer{number}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.to_layer1(x))))

    def to_layer1(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.layer1(F.max_pool2d(x, 3, 2, padding=1))


class PositionBranch(nn.Module):
    def __init__(self, inputs: int, channels: int, classes: int, attention: str = "plain") -> None:
        super().__init__()
        self.attention = attention
        self.reduce = ConvNorm(inputs, channels)
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gate = nn.Parameter(torch.zeros(()))
        self.refine = ConvNorm(channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        query, key, value = (f(x).flatten(2) for f in (self.query, self.key, self.value))  # (B, ·, N)
        attended = ATTENTIONS[self.attention](query.mT, key.mT, value.mT).mT
        return self.refine(self.gate * attended.reshape(x.shape) + x)


class ChannelBranch(nn.Module):
    def __init__(self, inputs: int, channels: int, classes: int, form: str = "released") -> None:
        super().__init__()
        self.form = form
        self.reduce = ConvNorm(inputs, channels)
        self.gate = nn.Parameter(torch.zeros(()))
        self.refine = ConvNorm(channels, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        flat = x.flatten(2)  # (B, C, N)
        energy = flat @ flat.mT  # (B, C, C)
        if self.form == "released":
            energy = energy.amax(dim=-1, keepdim=True) - energy
        attention = torch.softmax(energy, dim=-1)
        return self.refine(self.gate * (attention @ flat).reshape(x.shape) + x)


class DualHead(nn.Module):
    def __init__(self, inputs: int, classes: int, attention: str = "plain") -> None:
        super().__init__()
        self.channels = inputs // 4
        self.position = PositionBranch(inputs, self.channels, classes, attention)
        self.channel = ChannelBranch(inputs, self.channels, classes)
        self.classifier = nn.Conv2d(self.channels, classes, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The scores that predict, and those of each branch, which only the loss wants."""
        return self.scores(*self.branches(x))

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.position(x), self.channel(x)

    def scores(self, position: Tensor, channel: Tensor) -> list[Tensor]:
        return [
            self.classifier(position + channel),
            self.position.classifier(position),
            self.channel.classifier(channel),
        ]


class ScaleAttention(nn.Module):
    def __init__(self, inputs: int, scales: int, channels: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs * scales, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, scales, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.conv2(F.relu(self.conv1(torch.cat(list(features), dim=1)), inplace=True))


class DANet(nn.Module):
    """DANet; with several scales, the same DANet at each of them, fused by attention to scale."""

    def __init__(
        self, backbone: str, classes: int, scales: Sequence[float] = (1.0,), *, attention: str = "plain"
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.backbone = ResNet(backbone)
        self.head = DualHead(self.backbone.channels, classes, attention)
        if len(self.scales) > 1:
            self.scale_attention = ScaleAttention(self.head.channels, len(self.scales))

    def forward(self, images: Tensor) -> Tensor:
        """The scores that predict: ``(B, 3, H, W) → (B, K, h, w)``."""
        branches = [self.head.branches(self.backbone(each)) for each in self.at_scales(images)]
        scores = [self.head.classifier(position + channel) for position, channel in branches]
        return scores[0] if len(scores) == 1 else self.fuse(branches, scores)[0]

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The sum of all cross-entropies of ``images (B, 3, H, W)`` against ``labels (B, H, W)``.

        At one scale, that of the scores and of the two branches; at several, that of the fused scores, of each
        scale's, and of the branches, which count as their mean over the scales.
        """

        def cross_entropy(scores: Tensor) -> Tensor:
            return F.cross_entropy(resize(scores, labels.shape[1:]).float(), labels, ignore_index=255)

        branches = [self.head.branches(self.backbone(each)) for each in self.at_scales(images)]
        scores = [self.head.scores(position, channel) for position, channel in branches]
        if len(scores) == 1:
            return torch.stack([cross_entropy(each) for each in scores[0]]).sum()
        fused, on_grid = self.fuse(branches, [main for main, _, _ in scores])
        grid = fused.shape[2:]
        total = cross_entropy(fused)
        for main, (_, position, channel) in zip(on_grid, scores, strict=True):
            parts = cross_entropy(resize(position, grid)) + cross_entropy(resize(channel, grid))
            total = total + cross_entropy(main) + parts / len(scores)
        return total

    def at_scales(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[2:]
        return [resize(images, (round(height * scale), round(width * scale))) for scale in self.scales]

    def fuse(self, branches: Any, scores: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The fused scores, and each scale's on the grid of scale 1."""
        grid = scores[self.scales.index(1.0)].shape[2:]
        on_grid = [resize(each, grid) for each in scores]
        features = [resize(position + channel, grid) for position, channel in branches]
        weights = torch.softmax(self.scale_attention(features), dim=1)  # (B, S, h, w)
        fused = sum(each * weights[:, s : s + 1] for s, each in enumerate(on_grid))
        return fused, on_grid

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Take the project's parameters; its convolutions are (kh, kw, in, out), its linear maps (in, out)."""
        state = {}
        for name, tensor in self.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                state[name] = to_torch(params[name]).reshape(tensor.shape)
        self.load_state_dict(state, strict=False)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def to_torch(parameter: np.ndarray) -> Tensor:
    """One parameter, or its gradient, in PyTorch's order of axes: outputs and inputs first."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(parameter.ndim, range(parameter.ndim))
    return torch.from_numpy(np.ascontiguousarray(parameter.transpose(axes)))


#: Layers that the project holds as linear maps (in, out), and PyTorch as 1×1 convolutions.
LINEAR = (".query.weight", ".key.weight", ".value.weight", ".classifier.weight", "scale_attention.conv2.weight")


def from_torch(name: str, tensor: Tensor) -> np.ndarray:
    """The gradient of the parameter ``name`` in the project's order of axes."""
    array = to_numpy(tensor)
    if name.endswith(LINEAR):
        return array[:, :, 0, 0].T
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
