"""The convolutions of a network, by running it on shapes."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from reference.layers import Context
from reference.networks import NetworkConfig, build_network
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray


class ConvolutionCall(NamedTuple):
    """The shapes and options of one call of ``conv2d``."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int
    padding: int
    dilation: int


class Recorder(CountingOps):
    """Counting ops that record each convolution."""

    def __init__(self, meter: CostMeter) -> None:
        super().__init__(meter)
        self.convolutions: list[ConvolutionCall] = []

    def conv2d(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None, *, stride: int = 1,
        padding: int = 0, dilation: int = 1,
    ) -> tuple[ShapeArray, Any]:
        self.convolutions.append(ConvolutionCall(x.shape, weight.shape, stride, padding, dilation))
        return super().conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)


@cache
def convolutions(config: NetworkConfig, batch: int, height: int, width: int) -> tuple[ConvolutionCall, ...]:
    """Every distinct convolution of the network on images ``(batch, height, width, 3)``, in order.

    >>> calls = convolutions(NetworkConfig(classes=5, head="fcn"), 1, 64, 96)
    >>> calls[0].x, calls[0].weight, calls[0].stride
    ((1, 64, 96, 3), (3, 3, 3, 16), 2)
    """
    network = build_network(config)
    recorder = Recorder(CostMeter())
    params = {name: ShapeArray(shape, np.float32, CostMeter()) for name, shape in network.shapes().items()}
    network.forward(ShapeArray((batch, height, width, 3), np.float32, CostMeter()), Context(recorder, params))
    return tuple(dict.fromkeys(recorder.convolutions))
