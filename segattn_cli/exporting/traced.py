"""Arrays without values and parameters with values, for tracing a network."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from segattn_cli.exporting.dimensions import Dimension
from segattn_cli.exporting.graph import Constant, Node, Value


class Parameter:
    """A parameter of the network, and its constants in the graph, which all that use it share."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.constant = Constant(array, name)
        self._kernels: dict[int, Constant] = {}

    def kernel(self, ndim: int) -> Constant:
        """The weight ``(…, C_in, C_out)`` for a convolution of arrays with ``ndim`` axes: ``(C_out, C_in, …)``.

        A linear map's ``(C_in, C_out)`` becomes a window of one pixel.
        """
        if ndim not in self._kernels:
            windowed = self.array.reshape((1,) * (ndim - self.array.ndim) + self.shape)
            self._kernels[ndim] = Constant(np.moveaxis(windowed, (-1, -2), (0, 1)), self.constant.name)
        return self._kernels[ndim]


class TracedArray:
    """An array of the graph. Networks see its channels last; ONNX wants them before the pixels.

    ===================  ===================
    what networks see    what the graph has
    ===================  ===================
    ``(B, H, W, C)``     ``(B, C, H, W)``
    ``(B, N, C)``        ``(B, C, N)``
    ``(S, B, H, W, C)``  ``(S, B, C, H, W)``
    ===================  ===================

    So a reshape from maps to tokens or back is the same reshape in the graph, and no convolution needs a
    transpose around it.

    Args:
        value: its place in the graph, float32.
        ndim: the number of axes: 3, 4 or 5.
        channels: the length of the last axis.
        at_least: the least number of pixels along each axis.
    """

    def __init__(self, value: Value, ndim: int, channels: int, *, at_least: int = 1) -> None:
        self.value = value
        self.ndim = ndim
        self.channels = channels
        self.at_least = at_least

    @cached_property
    def shape(self) -> tuple[Any, ...]:
        """Dimensions of the graph, and the channels, which are a number."""
        shape = Node("Shape", self.value)
        axes = [axis for axis in range(self.ndim) if axis != self.channel_axis]
        sizes = [Node("Gather", shape, Constant(np.array([axis])), axis=0) for axis in axes]
        least = [1 if axis < self.channel_axis else self.at_least for axis in axes]
        dimensions = (Dimension(size, at_least=n) for size, n in zip(sizes, least, strict=True))
        return (*dimensions, self.channels)

    @property
    def channel_axis(self) -> int:
        """Where the channels stand in the graph."""
        return 2 if self.ndim == 5 else 1

    def reshape(self, *shape: Any) -> TracedArray:
        """From maps to tokens or back. The channels stay; of the other axes, one may be −1."""
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        if wanted[-1] != self.channels or 5 in (self.ndim, len(wanted)):
            raise TypeError(f"Only pixels can be reshaped in a graph, and neither channels nor scales: {wanted}.")
        first, *pixels, channels = wanted
        sizes = size_vector([first, channels, *pixels])
        return TracedArray(Node("Reshape", self.value, sizes), len(wanted), self.channels)

    def __add__(self, other: TracedArray) -> TracedArray:
        return TracedArray(Node("Add", self.value, other.value), self.ndim, self.channels)


def size_vector(sizes: list[Dimension | int]) -> Value:
    """A shape as a tensor of the graph, int64."""
    parts = [each.value if isinstance(each, Dimension) else Constant(np.array([each])) for each in sizes]
    return Node("Concat", *parts, axis=0)
