"""Dilated ResNets: the last stages have dilations in place of strides.

He et al., CVPR 2016, with the dilations of DANet's authors: in a stage without its stride, the first 3×3
convolution has the dilation of the stage before, and all others twice that. Names are torchvision's.
"""

from __future__ import annotations

from reference.layers.base import Array, Layer
from reference.layers.context import Context
from reference.layers.convolution import ConvNorm
from reference.layers.residual import BasicBlock, Bottleneck

#: Name → kind of block, and the number of blocks in each of the four stages.
DEPTHS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(Layer):
    """``(B, H, W, 3) → (B, H/s, W/s, C)`` with s the output stride, sizes rounded up.

    C is 512 for ResNet-18 and -34, 2048 for ResNet-50 and -101.
    """

    def __init__(
        self, name: str, depth: str, *, output_stride: int = 8, multi_grid: tuple[int, ...] | None = None,
        deep_stem: bool = False, stem_channels: int = 64,
    ) -> None:
        self.name = name
        block, counts = DEPTHS[depth]
        if deep_stem:
            narrow, channels = stem_channels, 2 * stem_channels
            self.stem = [
                ConvNorm(f"{name}.conv1.0", f"{name}.conv1.1", 3, narrow, 3, stride=2),
                ConvNorm(f"{name}.conv1.3", f"{name}.conv1.4", narrow, narrow, 3),
                ConvNorm(f"{name}.conv1.6", f"{name}.bn1", narrow, channels, 3),
            ]
        else:
            channels = 64
            self.stem = [ConvNorm(f"{name}.conv1", f"{name}.bn1", 3, channels, 7, stride=2)]

        blocks: list[BasicBlock | Bottleneck] = []
        reached, dilation = 4, 1  # the stem's stride and the pool's
        for stage, count in enumerate(counts, 1):
            stride, first_dilation = 1, dilation
            if stage > 1 and reached < output_stride:
                stride, reached = 2, reached * 2
            elif stage > 1:
                dilation *= 2
            width = 64 * 2 ** (stage - 1)
            for index in range(count):
                first = index == 0
                dilations = (first_dilation if first else dilation, dilation)
                if stage == 4 and multi_grid is not None:
                    dilations = (multi_grid[index], dilation)
                blocks.append(
                    block(
                        f"{name}.layer{stage}.{index}", channels, width, stride=stride if first else 1,
                        first_dilation=dilations[0], dilation=dilations[1],
                    )
                )
                channels = width * block.expansion
        self.layer1 = blocks[: counts[0]]
        self.layer2_to_3 = blocks[counts[0] : -counts[3]]
        self.layer4 = blocks[-counts[3] :]
        self.channels = channels
        self.layer3_channels = channels // 2
        self.layer1_channels = channels // 8

    def forward(self, x: Array, ctx: Context) -> Array:
        return self.forward_layer4(self.forward_to_layer3(x, ctx), ctx)

    def backward(self, dy: Array, ctx: Context) -> None:
        """The gradients of the parameters; that of the image is not needed."""
        self.backward_from_layer3(self.backward_layer4(dy, ctx), ctx)

    def forward_to_layer3(self, x: Array, ctx: Context) -> Array:
        """All stages before the last, whose output an auxiliary head takes."""
        return self.forward_layer2_to_3(self.forward_to_layer1(x, ctx), ctx)

    def backward_from_layer3(self, dy: Array, ctx: Context) -> None:
        self.backward_from_layer1(self.backward_layer2_to_3(dy, ctx), ctx)

    def forward_to_layer1(self, x: Array, ctx: Context) -> Array:
        """The stem and the first stage, ``(B, H/4, W/4, C₁)``, whose output a decoder takes."""
        for conv in self.stem:
            x = conv.forward(x, ctx)
        x = ctx.save(f"{self.name}.maxpool", ctx.ops.max_pool2d(x, window=3, stride=2, padding=1))
        for block in self.layer1:
            x = block.forward(x, ctx)
        return x

    def backward_from_layer1(self, dy: Array, ctx: Context) -> None:
        for block in reversed(self.layer1):
            dy = block.backward(dy, ctx)
        dy = ctx.ops.max_pool2d_backward(dy, ctx.saved(f"{self.name}.maxpool"))
        first, *others = self.stem
        for conv in reversed(others):
            dy, _ = conv.backward(dy, ctx)
        first.backward(dy, ctx, needs_dx=False)

    def forward_layer2_to_3(self, x: Array, ctx: Context) -> Array:
        for block in self.layer2_to_3:
            x = block.forward(x, ctx)
        return x

    def backward_layer2_to_3(self, dy: Array, ctx: Context) -> Array:
        for block in reversed(self.layer2_to_3):
            dy = block.backward(dy, ctx)
        return dy

    def forward_layer4(self, x: Array, ctx: Context) -> Array:
        for block in self.layer4:
            x = block.forward(x, ctx)
        return x

    def backward_layer4(self, dy: Array, ctx: Context) -> Array:
        for block in reversed(self.layer4):
            dy = block.backward(dy, ctx)
        return dy
