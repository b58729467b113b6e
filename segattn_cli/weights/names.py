"""How names and shapes of parameters elsewhere translate into ours.

Ours are in ``docs/networks.md``; arrays here are channels last. PyTorch keeps the weight of a convolution as
``(C_out, C_in, kh, kw)``, which is ``(kh, kw, C_in, C_out)`` here, and a 1×1 convolution, ``(C_in, C_out)`` here,
as ``(C_out, C_in, 1, 1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segattn_cli.config import described_config
from segattn_cli.errors import ConfigError
from segattn_cli.weights.tensors import FileError

#: The keys of :class:`reference.networks.NetworkConfig` that decide which parameters a backbone has.
BACKBONE_SETTINGS = ("backbone", "deep_stem", "stem_channels")
Shape = tuple[int, ...]
#: Gives the array of a file the form of ours: ``convert(ours, array, shape)``.
Convert = Callable[[str, np.ndarray, Shape], np.ndarray]


def from_pytorch(ours: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    """PyTorch's ``array`` with the axes that a parameter of ``shape`` has; other sizes stay what they are.

    >>> from_pytorch("conv", np.zeros((64, 3, 7, 7)), (7, 7, 3, 64)).shape
    (7, 7, 3, 64)
    >>> from_pytorch("query", np.zeros((64, 512, 1, 1)), (512, 64)).shape
    (512, 64)
    """
    if len(shape) == 4 and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if len(shape) == 2 and (array.ndim == 2 or array.shape[2:] == (1, 1)):
        return array.reshape(array.shape[:2]).T
    return array.reshape(()) if shape == () and array.size == 1 else array


def to_pytorch(array: np.ndarray) -> np.ndarray:
    """The inverse of :func:`from_pytorch`: every linear map of pixels becomes a 1×1 convolution.

    >>> to_pytorch(np.zeros((512, 64))).shape
    (64, 512, 1, 1)
    """
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T[:, :, None, None] if array.ndim == 2 else array


@dataclass(frozen=True)
class Naming:
    """The names in one file.

    Args:
        layout: whose names they are: ``torchvision``, ``danet``, ``mmseg``, ``pytorch``, ``segattn``.
        settings: what of :class:`reference.networks.NetworkConfig` the file itself tells.
        renames: beginnings of our names and what stands there instead; the longest that fits counts.
        convert: brings an array into our form.
        notes: what a reader should know.
    """

    layout: str
    settings: Mapping[str, Any]
    renames: Mapping[str, str]
    convert: Convert = from_pytorch
    notes: tuple[str, ...] = field(default=())

    @property
    def holds_network(self) -> bool:
        """Whether there is a head, and with it a number of classes."""
        return "classes" in self.settings

    def theirs(self, ours: str) -> str | None:
        """The file's name for our parameter, None where it has none.

        >>> naming = Naming("danet", {}, {"backbone": "pretrained", "head.position.reduce.conv": "head.conv5a.0"})
        >>> naming.theirs("backbone.bn1.bias"), naming.theirs("head.position.reduce.conv.weight")
        ('pretrained.bn1.bias', 'head.conv5a.0.weight')
        """
        parts = ours.split(".")
        for end in range(len(parts), -1, -1):
            renamed = self.renames.get(".".join(parts[:end]))
            if renamed is not None:
                return ".".join([*filter(None, [renamed]), *parts[end:]])
        return None


def checked_settings(said: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a file says of its network, if they make one.

    Raises:
        FileError: where they do not.

    >>> checked_settings({"backbone": "resnet18", "scales": [1.0, 0.5]})
    {'backbone': 'resnet18', 'scales': (1.0, 0.5)}
    """
    try:
        parts = {key: value for key, value in said.items() if key != "classes"}
        described_config({"network": parts})
        if "backbone" not in parts or type(said.get("classes", 2)) is not int:
            raise ValueError("no backbone, or no number of classes")
    except (TypeError, ValueError, AttributeError, RecursionError, ConfigError) as error:
        raise FileError(f"does not describe its network as this segattn expects ({str(error)[:100]})") from None
    return {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}


def prefix_before(names: Iterable[str], ending: str) -> str | None:
    """What stands before ``ending`` in the shortest name that ends so; wrappers such as DataParallel leave it.

    Raises:
        FileError: for two that are equally short: nobody could tell which is meant.

    >>> prefix_before(["module.conv1.weight", "module.bn1.weight"], "conv1.weight")
    'module.'
    """
    found = {name.removesuffix(ending) for name in names if name == ending or name.endswith(f".{ending}")}
    shortest = sorted(prefix for prefix in found if len(prefix) == min(map(len, found)))
    if len(shortest) > 1:
        raise FileError(f"holds several networks, {shortest[0]} and {shortest[1]}: save one of them alone")
    return shortest[0] if shortest else None
