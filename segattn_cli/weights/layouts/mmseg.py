"""mmsegmentation's DANet: ResNet's stem or V1c (32, 32, 64), and an auxiliary head on layer3.

Names: https://github.com/open-mmlab/mmsegmentation, mmseg/models/decode_heads/da_head.py.
"""

from __future__ import annotations

from typing import Any

from segattn_cli.weights.layouts import torchvision_resnet
from segattn_cli.weights.names import Naming, prefix_before
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

HEAD = {
    "head.position.reduce.conv": "decode_head.pam_in_conv.conv",
    "head.position.reduce.norm": "decode_head.pam_in_conv.bn",
    "head.position.query": "decode_head.pam.query_project",
    "head.position.key": "decode_head.pam.key_project",
    "head.position.value": "decode_head.pam.value_project",
    "head.position.gate": "decode_head.pam.gamma.scale",
    "head.position.refine.conv": "decode_head.pam_out_conv.conv",
    "head.position.refine.norm": "decode_head.pam_out_conv.bn",
    "head.position.classifier": "decode_head.pam_conv_seg",
    "head.channel.reduce.conv": "decode_head.cam_in_conv.conv",
    "head.channel.reduce.norm": "decode_head.cam_in_conv.bn",
    "head.channel.gate": "decode_head.cam.gamma.scale",
    "head.channel.refine.conv": "decode_head.cam_out_conv.conv",
    "head.channel.refine.norm": "decode_head.cam_out_conv.bn",
    "head.channel.classifier": "decode_head.cam_conv_seg",
    "head.classifier": "decode_head.conv_seg",
    "auxiliary_head.reduce.conv": "auxiliary_head.convs.0.conv",
    "auxiliary_head.reduce.norm": "auxiliary_head.convs.0.bn",
    "auxiliary_head.classifier": "auxiliary_head.conv_seg",
}


def recognise(file: WeightsFile) -> Naming | None:
    """Recognise the names of a DANet of mmsegmentation."""
    prefix = prefix_before(file.tensors, "decode_head.pam.query_project.weight")
    if prefix is None or f"{prefix}decode_head.conv_seg.weight" not in file.tensors:
        return None
    backbone = torchvision_resnet.settings(file.tensors, f"{prefix}backbone.")
    if backbone["backbone"] in ("resnet18", "resnet34"):
        raise FileError(
            f"has mmsegmentation's {backbone['backbone']}, which dilates the first convolution of a block only: "
            "segattn has no such backbone"
        )
    channels = file.tensors[f"{prefix}decode_head.pam.query_project.weight"].shape[1]
    settings: dict[str, Any] = {
        **backbone,
        "head": "dual", "head_channels": channels, "channel_form": "released", "align_corners": False,
        "output_stride": 8, "auxiliary_head": f"{prefix}auxiliary_head.conv_seg.weight" in file.tensors,
        "classes": file.tensors[f"{prefix}decode_head.conv_seg.weight"].shape[0],
    }  # fmt: skip
    renames = {ours: prefix + theirs for ours, theirs in HEAD.items()}
    renames |= torchvision_resnet.renames(file.tensors, f"{prefix}backbone.")
    notes = (
        "mmsegmentation normalises in units of 0–255, by mean 123.675, 116.28, 103.53 and deviation 58.395, 57.12, "
        "57.375: the same as ImageNet's in [0, 1], by which segattn normalises images.",
        "align_corners is false, as in all its configurations but those for 769×769: change it with "
        "--set network.align_corners=true.",
    )
    return Naming("mmseg", settings, renames, notes=notes)
