"""Checkpoints of DANet's authors (junfu1115/DANet, 2018).

Their command used multi-grid dilations (4, 8, 16) and ``align_corners=True``, which the file does not contain.
"""

from __future__ import annotations

from typing import Any

from segattn_cli.weights.layouts import torchvision_resnet
from segattn_cli.weights.names import Naming, prefix_before
from segattn_cli.weights.reading import WeightsFile

HEAD = {
    "head.position.reduce.conv": "head.conv5a.0",
    "head.position.reduce.norm": "head.conv5a.1",
    "head.position.query": "head.sa.query_conv",
    "head.position.key": "head.sa.key_conv",
    "head.position.value": "head.sa.value_conv",
    "head.position.gate": "head.sa.gamma",
    "head.position.refine.conv": "head.conv51.0",
    "head.position.refine.norm": "head.conv51.1",
    "head.position.classifier": "head.conv6.1",
    "head.channel.reduce.conv": "head.conv5c.0",
    "head.channel.reduce.norm": "head.conv5c.1",
    "head.channel.gate": "head.sc.gamma",
    "head.channel.refine.conv": "head.conv52.0",
    "head.channel.refine.norm": "head.conv52.1",
    "head.channel.classifier": "head.conv7.1",
    "head.classifier": "head.conv8.1",
}


def recognise(file: WeightsFile) -> Naming | None:
    """Recognise the names of a DANet that its authors saved."""
    prefix = prefix_before(file.tensors, "head.sa.query_conv.weight")
    if prefix is None or f"{prefix}head.conv8.1.weight" not in file.tensors:
        return None
    channels = file.tensors[f"{prefix}head.sa.query_conv.weight"].shape[1]
    settings: dict[str, Any] = {
        **torchvision_resnet.settings(file.tensors, f"{prefix}pretrained."),
        "head": "dual", "head_channels": channels, "channel_form": "released", "align_corners": True,
        "output_stride": 8, "classes": file.tensors[f"{prefix}head.conv8.1.weight"].shape[0],
    }  # fmt: skip
    assumed, example = "align_corners is", "align_corners=false"
    if settings["backbone"] != "resnet18":
        settings["multi_grid"] = (4, 8, 16)
        assumed, example = "Multi-grid dilations (4, 8, 16) and align_corners are", "multi_grid=none"
    renames = {ours: prefix + theirs for ours, theirs in HEAD.items()}
    renames |= torchvision_resnet.renames(file.tensors, f"{prefix}pretrained.")
    note = (
        f"{assumed} set as in the authors' command: for a network that was trained otherwise, change that, as with "
        f"--set network.{example}."
    )
    return Naming("danet", settings, renames, notes=(note,))
