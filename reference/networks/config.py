"""What a network is made of: a backbone, a head and, if wanted, scales."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

BACKBONES = ("tiny", "resnet18", "resnet34", "resnet50", "resnet101", "vgg16")
HEADS = ("fcn", "position", "channel", "dual", "largefov")
CHANNEL_FORMS = ("released", "paper")
FUSIONS = ("attention", "max", "mean")
SCALE_CLASSIFIERS = ("none", "attached", "detached")
#: Backbone → the output strides that it can have.
OUTPUT_STRIDES = {"tiny": (4, 8), "vgg16": (8,)} | dict.fromkeys(BACKBONES[1:5], (8, 16, 32))
#: No image is enlarged by a larger factor.
LARGEST_SCALE = 16.0
#: No layer has more channels: one convolution of so many would take 150 GB.
WIDEST = 65536


@dataclass(frozen=True)
class Architecture:
    """The parts of a network; ``docs/networks.md`` has a diagram.

    Args:
        backbone: ``tiny``, ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101`` or ``vgg16``.
        output_stride: pixels of the image, along an axis, for one pixel of the features: 8, 16 or 32 of a ResNet, 8
            of ``vgg16``, 4 or 8 of ``tiny``.
        multi_grid: dilations of the blocks of ``layer4`` in place of its own, (4, 8, 16) in the DANet paper.
        deep_stem: three 3×3 convolutions in place of ResNet's 7×7.
        stem_channels: width of the first two of these, half that of the third: 64 in PyTorch-Encoding, 32 in the
            stem V1c of mmsegmentation.
        head: ``fcn`` (no attention), ``position``, ``channel``, ``dual`` (DANet) or ``largefov`` (DeepLab).
        head_channels: channels C inside the head; a quarter of the backbone's by default, 1024 for ``largefov``.
        auxiliary_head: a second ``fcn`` head on layer3 of a ResNet, for training alone.
        decoder: adds the features of a ResNet's layer1 to the head's, on the grid of layer1, for what is thin; the
            head's own scores are then the auxiliary ones.
        channel_form: whose channel attention: ``released`` (the authors' code) or ``paper``.
        scales: factors by which the image is resized, 1.0 among them.
        fusion: how the score maps of several scales become one: ``attention``, ``max`` or ``mean``.
        scale_attention_channels: width of the small network that predicts the scale weights.
        scale_classifier: ``attached`` adds a classifier of the scale that a score map came from, and its gradient
            trains the maps, too; ``detached`` adds it as a probe that leaves the maps alone; ``none`` adds nothing.
        align_corners: whether resizing maps corner pixels onto corner pixels (DeepLab and DANet did).

    Raises:
        ValueError: one sentence, for parts that do not exist or do not fit together.
    """

    backbone: str = "tiny"
    output_stride: int = 8
    multi_grid: tuple[int, ...] | None = None
    deep_stem: bool = False
    stem_channels: int = 64
    head: str = "dual"
    head_channels: int | None = None
    auxiliary_head: bool = False
    decoder: bool = False
    channel_form: str = "released"
    scales: tuple[float, ...] = (1.0,)
    fusion: str = "attention"
    scale_attention_channels: int = 512
    scale_classifier: str = "none"
    align_corners: bool = False

    def __post_init__(self) -> None:
        _one_of("backbone", self.backbone, BACKBONES)
        _one_of("head", self.head, HEADS)
        _one_of("channel_form", self.channel_form, CHANNEL_FORMS)
        _one_of("fusion", self.fusion, FUSIONS)
        _one_of("scale_classifier", self.scale_classifier, SCALE_CLASSIFIERS)
        _one_of(f"output_stride of {self.backbone}", self.output_stride, OUTPUT_STRIDES[self.backbone])
        is_resnet = self.backbone.startswith("resnet")
        for name in ("head_channels", "scale_attention_channels", "stem_channels"):
            width = getattr(self, name)
            _require(width is None or 1 <= width <= WIDEST, f"{name} must be 1 to {WIDEST}")
        _require(is_resnet or not self.deep_stem, f"deep_stem is for ResNets, not for {self.backbone}")
        _require(self.deep_stem or self.stem_channels == 64, "stem_channels is the width of a deep_stem")
        _require(is_resnet or not self.auxiliary_head, f"auxiliary_head is for ResNets, not for {self.backbone}")
        _require(is_resnet or not self.decoder, f"decoder is for ResNets, not for {self.backbone}")
        _require(
            not (self.decoder and self.auxiliary_head),
            "decoder and auxiliary_head exclude each other: with a decoder, the head's own scores are auxiliary",
        )
        if self.multi_grid is not None:
            _require(
                is_resnet and self.output_stride == 8, "multi_grid is for ResNets with output_stride 8 only"
            )
            blocks = 2 if self.backbone == "resnet18" else 3
            _require(
                len(self.multi_grid) == blocks and min(self.multi_grid) >= 1,
                f"multi_grid of {self.backbone} needs {blocks} dilations of at least 1, got {self.multi_grid}",
            )
        _require(1.0 in self.scales, f"scales must hold 1.0, got {self.scales}")
        names = {f"{scale:g}" for scale in self.scales}
        _require(len(names) == len(self.scales), f"scales must differ in six digits, got {self.scales}")
        _require(
            min(self.scales) > 0 and max(self.scales) <= LARGEST_SCALE,
            f"scales must be positive and at most {LARGEST_SCALE:g}, got {self.scales}",
        )
        _require(
            self.scale_classifier == "none" or len(self.scales) > 1,
            "scale_classifier needs more than one scale to tell apart",
        )


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Architecture):
    """An architecture and the number of classes.

    Args:
        classes: number K of classes that the score maps have.

    Raises:
        ValueError: as :class:`Architecture`, and for fewer than two classes.
    """

    classes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.classes >= 2, f"classes must be at least 2, got {self.classes}")


def _one_of(what: str, value: object, choices: Collection[object]) -> None:
    _require(value in choices, f"{what} must be one of {', '.join(map(str, choices))}, got {value}")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)
