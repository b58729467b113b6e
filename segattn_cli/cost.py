"""What a network costs before it runs: parameters, arithmetic and memory, from shapes alone.

The network runs its own forward pass, on ops that compute no values: an array is its shape and its dtype, and
counts as memory for as long as anything refers to it, as a NumPy array does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from reference.layers import Context, is_trained
from reference.networks import Objective
from reference.networks.single_scale import Network
from reference.ops.windows import output_size


class Cost(NamedTuple):
    """What one step costs: inference on a batch, or a whole training step."""

    parameters: int  # trained values
    multiply_adds: int  # of convolutions, linear maps and attentions, which are nearly all of the arithmetic
    activation_bytes: int  # the most that is alive at once; when training, all that backward needs
    peak_bytes: int  # an upper estimate: with parameters and, when training, gradients and momentum


def estimate(network: Network, batch: int, height: int, width: int, *, training: bool) -> Cost:
    """The cost of ``network`` in float32 on images ``(batch, height, width, 3)``.

    Buffers that an op needs only while it runs are not counted; the gradients that flow back through the network
    are, as twice its largest activation.

    >>> from reference.networks import NetworkConfig, build_network
    >>> cost = estimate(build_network(NetworkConfig(classes=5, head="fcn")), 1, 64, 96, training=False)
    >>> cost.parameters, f"{cost.multiply_adds / 1e6:.1f} million"
    (171765, '18.4 million')
    """
    meter = Meter()
    images = ShapeArray((batch, height, width, 3), np.float32, meter)
    initial = network.initialise(seed=0)
    params = {name: ShapeArray(value.shape, value.dtype, Meter()) for name, value in initial.items()}
    if training:
        ctx = Context(
            ShapeOps(meter), params, keep_caches=True, batch_statistics=True,
            draw_mask=lambda name, shape, rate: ShapeArray(shape, np.bool_, meter),
        )  # fmt: skip
        labels = ShapeArray((batch, height, width), np.int32, meter)
        Objective(network).forward(images, labels, ctx)
    else:
        network.predict(images, Context(ShapeOps(meter), params))

    trained = sum(value.size for name, value in initial.items() if is_trained(name))
    stored = sum(value.nbytes for value in initial.values())
    flowing = 2 * meter.largest + 2 * 4 * trained if training else 0  # dy and dx; gradients and momentum
    multiply_adds = meter.forward + (meter.backward if training else 0)
    return Cost(trained, multiply_adds, meter.peak, meter.peak + stored + flowing)


@dataclass
class Meter:
    """Counts what is alive and what is computed."""

    alive: int = 0  # bytes
    peak: int = 0  # bytes
    largest: int = 0  # bytes of one array
    forward: int = 0  # multiply-adds
    backward: int = 0  # multiply-adds

    def allocate(self, nbytes: int) -> None:
        self.alive += nbytes
        self.peak = max(self.peak, self.alive)
        self.largest = max(self.largest, nbytes)


class ShapeArray:
    """An array without values; a reshaped one lives on the memory of its ``base``."""

    def __init__(self, shape: Sequence[int], dtype: Any, meter: Meter, base: ShapeArray | None = None) -> None:
        self.shape: Any = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.meter = meter
        self.base = base
        if base is None:
            meter.allocate(self.nbytes)

    def __del__(self) -> None:
        if self.base is None:
            self.meter.alive -= self.nbytes

    def reshape(self, *shape: Any) -> ShapeArray:
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        rest = self.size // -math.prod(wanted) if -1 in wanted else 0  # the −1 makes the product negative
        return ShapeArray([rest if axis == -1 else axis for axis in wanted], self.dtype, self.meter, self)

    def __add__(self, other: Any) -> ShapeArray:
        shape = np.broadcast_shapes(self.shape, getattr(other, "shape", ()))
        return ShapeArray(shape, self.dtype, self.meter)

    __radd__ = __mul__ = __rmul__ = __add__


class ShapeOps:
    """The forward ops of :class:`backends.contract.Ops` on shapes; a cache is a tuple of the arrays it keeps."""

    name = "shapes"

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def asarray(self, x: Any, dtype: Any = None) -> ShapeArray:
        return x if isinstance(x, ShapeArray) else self._new(np.shape(x), dtype or np.asarray(x).dtype)

    def concatenate(self, arrays: Sequence[ShapeArray]) -> ShapeArray:
        channels = sum(array.shape[-1] for array in arrays)
        return self._new((*arrays[0].shape[:-1], channels), arrays[0].dtype)

    def stack(self, arrays: Sequence[ShapeArray]) -> ShapeArray:
        return self._new((len(arrays), *arrays[0].shape), arrays[0].dtype)

    def conv2d(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None, *, stride: int = 1,
        padding: int = 0, dilation: int = 1,
    ) -> tuple[ShapeArray, Any]:
        kernel = weight.shape[:2]
        size = output_size("conv2d", x.shape[1:3], kernel, stride=stride, padding=padding, dilation=dilation)
        y = self._new((x.shape[0], *size, weight.shape[3]), x.dtype)
        self._count(y.size * math.prod(weight.shape[:3]), 2)  # dx and dweight
        return y, (x,)

    def conv2d_relu(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None, residual: ShapeArray | None = None,
        *, stride: int = 1, padding: int = 0, dilation: int = 1,
    ) -> tuple[ShapeArray, Any]:
        y, cache = self.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
        return y, (*cache, y)

    def linear(self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None) -> tuple[ShapeArray, Any]:
        y = self._new((*x.shape[:-1], weight.shape[1]), x.dtype)
        self._count(x.size * weight.shape[1], 2)  # dx and dweight
        return y, (x,)

    def batch_norm(
        self, x: ShapeArray, scale: ShapeArray, shift: ShapeArray, mean: ShapeArray, variance: ShapeArray, *,
        training: bool, eps: float = 1e-5,
    ) -> tuple[ShapeArray, Any]:
        return self._like(x), SimpleNamespace(x=x, mean=0.0, variance=0.0)

    def batch_norm_relu(
        self, x: ShapeArray, scale: ShapeArray, shift: ShapeArray, mean: ShapeArray, variance: ShapeArray,
        residual: ShapeArray | None = None, *, training: bool, eps: float = 1e-5,
    ) -> tuple[ShapeArray, Any]:
        y = self._like(x)
        return y, SimpleNamespace(x=x, y=y, mean=0.0, variance=0.0)

    def relu(self, x: ShapeArray) -> tuple[ShapeArray, Any]:
        y = self._like(x)
        return y, (y,)

    def max_pool2d(self, x: ShapeArray, *, window: int, stride: int, padding: int = 0) -> tuple[ShapeArray, Any]:
        size = output_size("max_pool2d", x.shape[1:3], (window, window), stride=stride, padding=padding)
        y = self._new((x.shape[0], *size, x.shape[3]), x.dtype)
        return y, (self._new(y.shape, np.uint8),)  # which tap won

    def global_mean_pool(self, x: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._new((x.shape[0], x.shape[3]), x.dtype), ()

    def resize_bilinear(
        self, x: ShapeArray, size: tuple[int, int], *, align_corners: bool = False
    ) -> tuple[ShapeArray, Any]:
        return self._new((x.shape[0], *size, x.shape[3]), x.dtype), ()

    def dropout(self, x: ShapeArray, keep: ShapeArray, *, rate: float) -> tuple[ShapeArray, Any]:
        return self._like(x), (keep,)

    def softmax(self, x: ShapeArray) -> tuple[ShapeArray, Any]:
        y = self._like(x)
        return y, (y,)

    def softmax_cross_entropy(
        self, logits: ShapeArray, labels: ShapeArray, *, ignore_label: int = 255, class_weights: Any = None
    ) -> tuple[ShapeArray, Any]:
        return self._new((), logits.dtype), (logits, labels)

    def position_attention(self, query: ShapeArray, key: ShapeArray, value: ShapeArray) -> tuple[ShapeArray, Any]:
        batch, n, d = query.shape
        c = value.shape[2]
        y = self._like(value)
        self.meter.forward += batch * n * n * (d + c)
        self.meter.backward += batch * n * n * (3 * d + 2 * c)  # the map again; then dvalue, dmap, dquery, dkey
        return y, (query, key, value, y, self._new((batch, n), query.dtype))

    def channel_attention(self, x: ShapeArray, *, form: str = "released") -> tuple[ShapeArray, Any]:
        batch, n, c = x.shape
        self.meter.forward += 2 * batch * n * c * c
        self.meter.backward += 3 * batch * n * c * c  # dmap, and dx by the sum and by the energy
        return self._like(x), (x, self._new((batch, c, c), x.dtype))

    def gated_residual(self, x: ShapeArray, update: ShapeArray, gate: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._like(x), (update,)

    def scale_fusion(self, scores: ShapeArray, scale_logits: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._new(scores.shape[1:], scores.dtype), (scores, self._like(scale_logits))

    def scale_max(self, scores: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._new(scores.shape[1:], scores.dtype), (self._new(scores.shape[1:], np.uint8),)

    def scale_mean(self, scores: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._new(scores.shape[1:], scores.dtype), ()

    def _new(self, shape: Sequence[int], dtype: Any) -> ShapeArray:
        return ShapeArray(shape, dtype, self.meter)

    def _like(self, x: ShapeArray) -> ShapeArray:
        return self._new(x.shape, x.dtype)

    def _count(self, multiply_adds: int, backward: int) -> None:
        self.meter.forward += multiply_adds
        self.meter.backward += backward * multiply_adds
