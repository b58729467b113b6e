"""Translation of other tools' parameter names and shapes into ours.

``docs/networks.md`` lists our names; our arrays are channels last. The weight of a convolution is
``(C_out, C_in, kh, kw)`` in PyTorch and ``(kh, kw, C_in, C_out)`` here; that of a 1×1 convolution is
``(C_out, C_in, 1, 1)`` there and ``(C_in, C_out)`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segattn_cli.config import config_from
from segattn_cli.errors import ConfigError
from segattn_cli.weights.tensors import FileError

#: The keys of :class:`reference.networks.Architecture` that decide which parameters a backbone has.
BACKBONE_SETTINGS = ("backbone", "deep_stem", "stem_channels")
Shape = tuple[int, ...]
#: Converts an array of a file to the layout of our parameter: ``convert(our_name, array, our_shape)``.
Convert = Callable[[str, np.ndarray, Shape], np.ndarray]


def from_pytorch(ours: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    """PyTorch's ``array`` with the axes in the order of our parameter, whose shape is ``shape``.

    The sizes are not compared: an array of another size keeps it.

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
    """The names in one file, and how they translate.

    Args:
        layout: the tool that uses these names: a key of :data:`segattn_cli.weights.layouts.LAYOUTS`.
        settings: the fields of :class:`reference.networks.NetworkConfig` that follow from the file.
        renames: beginnings of our names and what replaces them in the file; the longest match is used.
        convert: converts an array to our layout.
        notes: sentences about what the file does not contain, for the user.
    """

    layout: str
    settings: Mapping[str, Any]
    renames: Mapping[str, str]
    convert: Convert = from_pytorch
    notes: tuple[str, ...] = field(default=())

    @property
    def holds_network(self) -> bool:
        """Whether the file holds a head, and with it a number of classes."""
        return "classes" in self.settings

    def theirs(self, ours: str) -> str | None:
        """The file's name of our parameter; None where the tool has no such parameter.

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


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a network, as a file's metadata describe them.

    Raises:
        FileError: where no network has such settings.

    >>> checked_settings({"backbone": "resnet18", "scales": [1.0, 0.5]})
    {'backbone': 'resnet18', 'scales': (1.0, 0.5)}
    """
    try:
        parts = {key: value for key, value in settings.items() if key != "classes"}
        config_from({"network": parts})
        if "backbone" not in parts or type(settings.get("classes", 2)) is not int:
            raise ValueError("no backbone, or no number of classes")
    except (TypeError, ValueError, AttributeError, RecursionError, ConfigError) as error:
        raise FileError(f"does not describe its network as this segattn expects ({str(error)[:100]})") from None
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def prefix_before(names: Iterable[str], ending: str) -> str | None:
    """The prefix before ``ending`` in the shortest name with that ending; wrappers such as DataParallel add one.

    Raises:
        FileError: for two prefixes of the same length, between which nothing decides.

    >>> prefix_before(["module.conv1.weight", "module.bn1.weight"], "conv1.weight")
    'module.'
    """
    prefixes = {name.removesuffix(ending) for name in names if name == ending or name.endswith(f".{ending}")}
    shortest = sorted(prefix for prefix in prefixes if len(prefix) == min(map(len, prefixes)))
    if len(shortest) > 1:
        raise FileError(f"holds several networks, {shortest[0]} and {shortest[1]}: save one of them alone")
    return shortest[0] if shortest else None
