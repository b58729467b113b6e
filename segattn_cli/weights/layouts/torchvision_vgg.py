"""torchvision's VGG-16, whose fully connected layers become fc6 and fc7 of DeepLab-LargeFOV by decimation.

Names: https://github.com/pytorch/vision/blob/main/torchvision/models/vgg.py. The decimation is that of DeepLab
(Chen et al., ICLR 2015, section 3.1, and PAMI 2018): of the 7×7 positions that fc6 sees, every third in each
direction is taken, and of the 4096 units of fc6 and fc7 as many, evenly spaced, as the head has channels.
"""

from __future__ import annotations

import numpy as np

from reference.networks.vgg import STAGES
from segattn_cli.weights.names import Naming, Shape, from_pytorch, prefix_before
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

#: Positions of the 13 convolutions among ``features``: each has a ReLU behind it, each stage a pool.
_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
BACKBONE = dict(
    zip(
        [f"backbone.conv{stage}_{i}" for stage, (count, *_) in enumerate(STAGES, 1) for i in range(1, count + 1)],
        [f"features.{n}" for n in _POSITIONS],
        strict=True,
    )
)
_WINDOW = 7  # fc6 sees 7×7 pixels of pool5


def recognise(file: WeightsFile) -> Naming | None:
    """Recognise the names of a VGG-16 without batch norm."""
    prefix = prefix_before(file.tensors, "features.0.weight")
    if prefix is None:
        return None
    positions = [n for n in range(64) if f"{prefix}features.{n}.weight" in file.tensors]
    if tuple(positions) != _POSITIONS:
        raise FileError("has a VGG that is not VGG-16 without batch norm (torchvision's vgg16)")
    renames = {ours: prefix + theirs for ours, theirs in BACKBONE.items()}
    renames |= {"head.fc6": f"{prefix}classifier.0", "head.fc7": f"{prefix}classifier.3"}
    return Naming("torchvision", {"backbone": "vgg16", "head": "largefov"}, renames, decimated)


def decimated(ours: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    """fc6 and fc7 decimated to ``shape``; other arrays as they are.

    >>> array = np.arange(8 * 2 * 49.0).reshape(8, 2 * 49)  # 8 units that see 7×7 pixels of 2 channels
    >>> fc6 = decimated("head.fc6.weight", array, (3, 3, 2, 4))
    >>> fc6.shape, fc6[:, 0, 0, 0], fc6[0, 0, 0]
    ((3, 3, 2, 4), array([ 0., 21., 42.]), array([  0., 196., 392., 588.]))
    """
    if not ours.startswith("head.fc"):
        return from_pytorch(ours, array, shape)
    every = max(len(array) // shape[-1], 1)  # of fc6's units and of fc7's, which are as many
    array = array[::every][: shape[-1]]  # (C_out, …)
    if ours == "head.fc6.weight" and array.ndim == 2:
        array = array.reshape(len(array), -1, _WINDOW, _WINDOW)[:, :, ::3, ::3]
    elif ours == "head.fc7.weight" and array.ndim == 2:
        array = array[:, ::every, None, None][:, : shape[-2]]
    return from_pytorch(ours, array, shape)
