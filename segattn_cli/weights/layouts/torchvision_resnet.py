"""torchvision's ResNets, also with a deep stem, under any prefix. Our names are the same after ``backbone.``.

Names: https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py; for the deep stem
https://github.com/zhanghang1989/PyTorch-Encoding (``conv1.0`` to ``conv1.6`` and ``bn1``) and mmsegmentation's
ResNetV1c (``stem.0`` to ``stem.7``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference.networks.resnet import DEPTHS, Bottleneck
from segattn_cli.weights.names import Naming, prefix_before
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError, Tensor

STEM_V1C = {
    "backbone.conv1.0": "stem.0", "backbone.conv1.1": "stem.1", "backbone.conv1.3": "stem.3",
    "backbone.conv1.4": "stem.4", "backbone.conv1.6": "stem.6", "backbone.bn1": "stem.7",
}  # fmt: skip


def recognise(file: WeightsFile) -> Naming | None:
    """Recognise the names of a ResNet, whatever else is in the file."""
    prefix = prefix_before(file.tensors, "layer1.0.conv1.weight")
    if prefix is None:
        return None
    return Naming("torchvision", settings(file.tensors, prefix), renames(file.tensors, prefix))


def renames(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, str]:
    """Beginnings of our names of the backbone, and what replaces them after ``prefix``."""
    v1c = STEM_V1C if f"{prefix}stem.0.weight" in tensors else {}
    return {"backbone": prefix.removesuffix(".")} | {ours: prefix + theirs for ours, theirs in v1c.items()}


def settings(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    """The settings of the ResNet whose names begin with ``prefix``.

    Raises:
        FileError: for a ResNet that :mod:`reference.networks.resnet` does not have.
    """
    counts = tuple(_blocks(tensors, f"{prefix}layer{stage}.") for stage in (1, 2, 3, 4))
    bottleneck = f"{prefix}layer1.0.conv3.weight" in tensors
    names = [
        name for name, (block, known) in DEPTHS.items() if known == counts and (block is Bottleneck) == bottleneck
    ]
    kind = "bottlenecks" if bottleneck else "basic blocks"
    if not names:
        raise FileError(f"has a ResNet of {counts} {kind}, which is none of {', '.join(DEPTHS)}")
    layers = [name.removeprefix(prefix).split(".")[2] for name in tensors if name.startswith(f"{prefix}layer")]
    strange = sorted(set(layers) - {"conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "downsample"})
    if strange:
        raise FileError(f"has a ResNet whose blocks hold {strange[0]}: segattn has no such network")
    if any(name.endswith("downsample.2.weight") for name in tensors if name.startswith(f"{prefix}layer")):
        raise FileError("has a ResNet-D, whose shortcuts pool before they project: segattn has no such network")
    width = tensors[f"{prefix}layer1.0.conv2.weight"].shape if f"{prefix}layer1.0.conv2.weight" in tensors else ()
    if width != (64, 64, 3, 3):
        raise FileError(f"has a {names[0]} of another width: layer1.0.conv2.weight is {width}, not (64, 64, 3, 3)")
    for first in (f"{prefix}conv1.0.weight", f"{prefix}stem.0.weight"):
        if first in tensors:
            return {"backbone": names[0], "deep_stem": True, "stem_channels": tensors[first].shape[0]}
    return {"backbone": names[0]}


def _blocks(tensors: Mapping[str, Tensor], stage: str) -> int:
    indices = {name.removeprefix(stage).partition(".")[0] for name in tensors if name.startswith(stage)}
    return len(indices)
