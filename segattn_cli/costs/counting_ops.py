"""The ops of :class:`backends.contract.Ops` on shapes, forward and backward.

An op counts its multiply-adds and the memory of its result; what its cache refers to stays alive with the cache.
Results, caches and temporary arrays are those of the backend ``numba``. Its workspaces are estimated, by the
formulas in ``_convolve`` and in position attention: tests compare them with what the backend allocates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from backends.numpy import winograd
from reference.ops.windows import output_size
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

#: The most values that are worked on at a time: in the gradients of patches; in the tiles of Winograd's filtering,
#: with few channels and with many; in a query's gradient.
PATCHES, FEW_TILES, MANY_TILES, QUERY_GRADIENT = 1 << 16, 1 << 21, 1 << 23, 1 << 23
#: Queries and keys of a tile of position attention.
QUERIES, KEYS = 256, 512


class ConvCache(NamedTuple):
    x: ShapeArray
    weight: ShapeArray
    bias: ShapeArray | None
    geometry: tuple[int, int, int]  # stride, padding, dilation


class NormCache(NamedTuple):
    x: ShapeArray
    mean: ShapeArray  # (C,)
    variance: ShapeArray  # (C,)
    y: ShapeArray | None = None  # where a ReLU follows
    has_residual: bool = False


class CountingOps:
    """A backend whose arrays are shapes.

    >>> meter = CostMeter()
    >>> ops = CountingOps(meter)
    >>> x, weight = ops.asarray(np.ones((1, 4, 4, 3), np.float32)), ops.asarray(np.ones((3, 3, 3, 8), np.float32))
    >>> y, cache = ops.conv2d(x, weight, padding=1)
    >>> y.shape, meter.forward  # 16 pixels × 8 channels × 27 values under each window
    ((1, 4, 4, 8), 3456)
    """

    name = "counting"

    def __init__(self, meter: CostMeter) -> None:
        self.meter = meter

    def asarray(self, x: Any, dtype: Any = None) -> ShapeArray:
        return x if isinstance(x, ShapeArray) else self._new(np.shape(x), dtype or np.asarray(x).dtype)

    def to_numpy(self, x: ShapeArray) -> np.ndarray:
        """Zeros of its shape that take no memory."""
        return np.broadcast_to(np.zeros((), x.dtype), x.shape)

    def synchronize(self) -> None:
        """Nothing is ever computed."""

    def constants(self, params: Mapping[str, ShapeArray]) -> dict[str, ShapeArray]:
        """The weights as they are: what a backend stores beside them is not counted."""
        return dict(params)

    def concatenate(self, arrays: Sequence[ShapeArray]) -> ShapeArray:
        channels = sum(array.shape[-1] for array in arrays)
        return self._new((*arrays[0].shape[:-1], channels), arrays[0].dtype)

    def stack(self, arrays: Sequence[ShapeArray]) -> ShapeArray:
        return self._new((len(arrays), *arrays[0].shape), arrays[0].dtype)

    def conv2d(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None, *, stride: int = 1,
        padding: int = 0, dilation: int = 1,
    ) -> tuple[ShapeArray, ConvCache]:
        return self._convolved(x, weight, bias, (stride, padding, dilation))

    def conv2d_backward(
        self, dy: ShapeArray, cache: ConvCache, *, needs_dx: bool = True
    ) -> tuple[ShapeArray | None, ShapeArray, ShapeArray | None]:
        x, weight, bias, geometry = cache
        dx, dweight = self._like(x) if needs_dx else None, self._like(weight)
        self._convolve(x, dy, weight, *geometry)
        self.meter.backward += (1 + needs_dx) * dy.size * math.prod(weight.shape[:3])
        return dx, dweight, None if bias is None else self._like(bias)

    def conv2d_relu(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None, residual: ShapeArray | None = None,
        *, stride: int = 1, padding: int = 0, dilation: int = 1, overwrite_residual: bool = False,
    ) -> tuple[ShapeArray, Any]:
        overwritten = residual if overwrite_residual else None
        y, conv = self._convolved(x, weight, bias, (stride, padding, dilation), overwritten)
        return y, (conv, y, residual is not None)

    def conv2d_relu_backward(
        self, dy: ShapeArray, cache: Any, *, needs_dx: bool = True
    ) -> tuple[ShapeArray | None, ShapeArray, ShapeArray | None, ShapeArray | None]:
        conv, _, has_residual = cache
        dtotal = self._like(dy)
        return *self.conv2d_backward(dtotal, conv, needs_dx=needs_dx), dtotal if has_residual else None

    def batch_norm(
        self, x: ShapeArray, scale: ShapeArray, shift: ShapeArray, mean: ShapeArray, variance: ShapeArray, *,
        training: bool, eps: float = 1e-5,
    ) -> tuple[ShapeArray, NormCache]:
        if training:
            mean, variance = self._like(mean), self._like(variance)
        return self._like(x), NormCache(x, mean, variance)

    def batch_norm_backward(
        self, dy: ShapeArray, cache: NormCache
    ) -> tuple[ShapeArray, ShapeArray, ShapeArray]:
        return self._like(dy), self._like(cache.mean), self._like(cache.mean)

    def batch_norm_relu(
        self, x: ShapeArray, scale: ShapeArray, shift: ShapeArray, mean: ShapeArray, variance: ShapeArray,
        residual: ShapeArray | None = None, *, training: bool, eps: float = 1e-5,
    ) -> tuple[ShapeArray, NormCache]:
        y, norm = self.batch_norm(x, scale, shift, mean, variance, training=training, eps=eps)
        return y, norm._replace(y=y, has_residual=residual is not None)

    def batch_norm_relu_backward(
        self, dy: ShapeArray, cache: NormCache
    ) -> tuple[ShapeArray, ShapeArray, ShapeArray, ShapeArray | None]:
        dresidual = self._like(dy) if cache.has_residual else None
        return *self.batch_norm_backward(dy, cache), dresidual

    def relu(self, x: ShapeArray) -> tuple[ShapeArray, ShapeArray]:
        y = self._like(x)
        return y, y

    def relu_backward(self, dy: ShapeArray, cache: ShapeArray) -> ShapeArray:
        return self._like(dy)

    def max_pool2d(self, x: ShapeArray, *, window: int, stride: int, padding: int = 0) -> tuple[ShapeArray, Any]:
        size = output_size("max_pool2d", x.shape[1:3], (window, window), stride=stride, padding=padding)
        y = self._new((x.shape[0], *size, x.shape[3]), x.dtype)
        winner = self._new(y.shape, np.uint8)
        return y, (winner, x.shape)

    def max_pool2d_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        return self._new(cache[1], dy.dtype)

    def global_mean_pool(self, x: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._new((x.shape[0], x.shape[3]), x.dtype), x.shape

    def global_mean_pool_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        return self._new(cache, dy.dtype)

    def resize_bilinear(
        self, x: ShapeArray, size: tuple[int, int], *, align_corners: bool = False
    ) -> tuple[ShapeArray, Any]:
        return self._new((x.shape[0], *size, x.shape[3]), x.dtype), x.shape

    def resize_bilinear_rows(
        self, x: ShapeArray, size: tuple[int, int], rows: tuple[int, int], *, align_corners: bool = False
    ) -> ShapeArray:
        return self._new((x.shape[0], rows[1] - rows[0], size[1], x.shape[3]), x.dtype)

    def resize_bilinear_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        return self._new(cache, dy.dtype)

    def linear(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None = None
    ) -> tuple[ShapeArray, Any]:
        y = self._new((*x.shape[:-1], weight.shape[1]), x.dtype)
        self.meter.forward += x.size * weight.shape[1]
        return y, (x, weight, bias)

    def linear_backward(self, dy: ShapeArray, cache: Any) -> tuple[ShapeArray, ShapeArray, ShapeArray | None]:
        x, weight, bias = cache
        self.meter.backward += 2 * x.size * weight.shape[1]  # dx and dweight
        return self._like(x), self._like(weight), None if bias is None else self._like(bias)

    def dropout(self, x: ShapeArray, mask: ShapeArray, *, rate: float) -> tuple[ShapeArray, Any]:
        scaled = self._like(x)
        return self._like(scaled), mask

    def dropout_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        scaled = self._like(dy)
        return self._like(scaled)

    def softmax(self, x: ShapeArray) -> tuple[ShapeArray, ShapeArray]:
        exponential = self._like(x)
        y = self._like(exponential)
        return y, y

    def softmax_backward(self, dy: ShapeArray, cache: ShapeArray) -> ShapeArray:
        return self._like(dy)  # every step is in place of the one before

    def softmax_cross_entropy(
        self, logits: ShapeArray, labels: ShapeArray, *, ignore_label: int = 255,
        class_weights: ShapeArray | None = None,
    ) -> tuple[ShapeArray, Any]:
        largest, total = self._new(labels.shape, logits.dtype), self._new(labels.shape, logits.dtype)
        return self._new((), logits.dtype), (logits, self._new(labels.shape, np.int64), largest, total)

    def softmax_cross_entropy_backward(self, dloss: Any, cache: Any) -> ShapeArray:
        return self._like(cache[0])

    def softmax_focal(
        self, logits: ShapeArray, labels: ShapeArray, *, ignore_label: int = 255,
        class_weights: ShapeArray | None = None, gamma: float = 2.0,
    ) -> tuple[ShapeArray, Any]:
        return self._new((), logits.dtype), (logits, self._new(labels.shape, np.int64))

    def softmax_focal_backward(self, dloss: Any, cache: Any) -> ShapeArray:
        return self.softmax_cross_entropy_backward(dloss, cache)

    def softmax_dice(
        self, logits: ShapeArray, labels: ShapeArray, *, ignore_label: int = 255
    ) -> tuple[ShapeArray, Any]:
        return self.softmax_focal(logits, labels)

    def softmax_dice_backward(self, dloss: Any, cache: Any) -> ShapeArray:
        return self.softmax_focal_backward(dloss, cache)

    def lovasz_softmax(
        self, logits: ShapeArray, labels: ShapeArray, *, ignore_label: int = 255
    ) -> tuple[ShapeArray, Any]:
        slopes = self._like(logits)
        self._works_on(0, 4 * labels.size)  # keys and pixels of the class that a thread sorts, before and after
        self._drops(2 * labels.size)  # targets of 64 bits
        return self._new((), logits.dtype), (logits, slopes)

    def lovasz_softmax_backward(self, dloss: Any, cache: Any) -> ShapeArray:
        return self._like(cache[0])

    def position_attention(self, query: ShapeArray, key: ShapeArray, value: ShapeArray) -> tuple[ShapeArray, Any]:
        batch, n, d = query.shape
        c = value.shape[2]
        y = self._like(value)
        maximum, total = (self._new((batch, n, 1), value.dtype) for _ in range(2))
        self._works_on(0, QUERIES * KEYS)
        self.meter.forward += batch * n * n * (d + c)
        return y, (query, key, value, y, maximum, total)

    def position_attention_backward(
        self, dy: ShapeArray, cache: Any
    ) -> tuple[ShapeArray, ShapeArray, ShapeArray]:
        query, key, value, *_ = cache
        batch, n, d = query.shape
        c = value.shape[2]
        self._works_on(min(-(-n // KEYS) * n * d, max(n * d, QUERY_GRADIENT)), QUERIES * (2 * KEYS + c))
        self.meter.backward += batch * n * n * (3 * d + 2 * c)  # the map again; then dvalue, dmap, dquery, dkey
        return self._like(query), self._like(key), self._like(value)

    def channel_attention(self, x: ShapeArray, *, form: str = "released") -> tuple[ShapeArray, Any]:
        batch, n, c = x.shape
        self.meter.forward += 2 * batch * n * c * c
        energy = self._new((batch, c, c), x.dtype)
        attention, _ = self.softmax(energy)
        by_image = self._like(x)
        return self._like(by_image), (x, attention)

    def channel_attention_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        x, attention = cache
        batch, n, c = x.shape
        self.meter.backward += 3 * batch * n * c * c  # dmap, and dx by the sum and by the energy
        dattention = self._like(attention)
        denergy = self.softmax_backward(dattention, attention)
        symmetric = denergy + denergy
        dx = self._like(x)
        self._drops(2 * n * c)  # the two products that one image's dx is the sum of
        del symmetric
        return dx

    def gated_residual(self, x: ShapeArray, update: ShapeArray, gate: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._like(x), (update, gate)

    def gated_residual_backward(
        self, dy: ShapeArray, cache: Any
    ) -> tuple[ShapeArray, ShapeArray, ShapeArray]:
        update, gate = cache
        return dy, self._like(update), self._like(gate)

    def scale_fusion(self, scores: ShapeArray, scale_logits: ShapeArray) -> tuple[ShapeArray, Any]:
        weights = self._like(scale_logits)
        return self._new(scores.shape[1:], scores.dtype), (scores, weights)

    def scale_fusion_backward(self, dy: ShapeArray, cache: Any) -> tuple[ShapeArray, ShapeArray]:
        scores, weights = cache
        return self._like(scores), self._like(weights)

    def scale_max(self, scores: ShapeArray) -> tuple[ShapeArray, Any]:
        winner = self._new(scores.shape[1:], np.int64)
        self._drops(scores.size)  # a copy with the scales last
        return self._new(scores.shape[1:], scores.dtype), (winner, scores.shape)

    def scale_max_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        return self._new(cache[1], dy.dtype)

    def scale_mean(self, scores: ShapeArray) -> tuple[ShapeArray, Any]:
        return self._new(scores.shape[1:], scores.dtype), scores.shape

    def scale_mean_backward(self, dy: ShapeArray, cache: Any) -> ShapeArray:
        fraction = self._like(dy)
        return self._new(cache, fraction.dtype)

    def label_map(self, scores: ShapeArray) -> ShapeArray:
        self._drops(2 * scores.size // scores.shape[-1])  # integers of 64 bits, before they are bytes
        return self._new(scores.shape[:-1], np.uint8)

    def hard_pixels(
        self, logits: ShapeArray, labels: ShapeArray, *, ignore_label: int = 255, threshold: float, least: float
    ) -> ShapeArray:
        self._drops(4 * labels.size)  # targets of 64 bits, losses, and the losses in part sorted
        return self._like(labels)

    def sum_of_squares(self, arrays: Sequence[ShapeArray]) -> ShapeArray:
        self._drops(2 * max(array.size for array in arrays))  # squares in double, of one array after the other
        return self._new((), np.float64)

    def sgd_update(
        self, params: Sequence[ShapeArray], momenta: Sequence[ShapeArray], gradients: Sequence[ShapeArray], *,
        rates: Sequence[float], decays: Sequence[float], momentum: float, scale: Any = 1.0, apply: Any = True,
    ) -> None:
        """In one pass over memory, in place."""

    def adamw_update(
        self, params: Sequence[ShapeArray], means: Sequence[ShapeArray], squares: Sequence[ShapeArray],
        steps: ShapeArray, gradients: Sequence[ShapeArray], *, rates: Sequence[float], decays: Sequence[float],
        betas: tuple[float, float], epsilon: float, scale: Any = 1.0, apply: Any = True,
    ) -> None:
        """In one pass over memory, in place."""

    def move_towards(
        self, targets: Sequence[ShapeArray], sources: Sequence[ShapeArray], weights: Sequence[float], *,
        apply: Any = True,
    ) -> None:
        self._drops(max(source.size for source in sources))

    def _new(self, shape: Sequence[int], dtype: Any) -> ShapeArray:
        return ShapeArray(shape, dtype, self.meter)

    def _like(self, x: ShapeArray) -> ShapeArray:
        return self._new(x.shape, x.dtype)

    def _convolved(
        self, x: ShapeArray, weight: ShapeArray, bias: ShapeArray | None, geometry: tuple[int, int, int],
        overwritten: ShapeArray | None = None,
    ) -> tuple[ShapeArray, ConvCache]:
        stride, padding, dilation = geometry
        kernel = weight.shape[:2]
        size = output_size("conv2d", x.shape[1:3], kernel, stride=stride, padding=padding, dilation=dilation)
        shape = x.shape[0], *size, weight.shape[3]
        y = self._new(shape, x.dtype) if overwritten is None else overwritten.reshape(shape)
        self._convolve(x, y, weight, *geometry)
        self.meter.forward += y.size * math.prod(weight.shape[:3])
        return y, ConvCache(x, weight, bias, geometry)

    def _convolve(
        self, x: ShapeArray, y: ShapeArray, weight: ShapeArray, stride: int, padding: int, dilation: int
    ) -> None:
        """The workspace of a convolution from ``x`` to ``y``, or of its gradients.

        Winograd's filtering F(4×4, 3×3) makes 36 values of 9 taps, and of each tile of 4×4 pixels of either image.
        Other products pack the weights, and read the patches of windows from the image.
        """
        taps, (channels, outputs) = math.prod(weight.shape[:2]), weight.shape[2:]
        batch, height, width, _ = y.shape
        if winograd.pays(x.shape, weight.shape, stride, padding, dilation, tile=4):
            tiles = batch * math.prod(dilation * -(-side // (4 * dilation)) for side in (height, width))
            values = 36 * (channels + outputs)
            combined = min(tiles * values, min(max(FEW_TILES, 256 * values), MANY_TILES))
            row = 6 * (width + 6 * dilation) * max(channels, outputs)
            self._works_on(4 * weight.size + combined, row)
        else:
            self._works_on(weight.size, min(height * width * taps * channels, PATCHES))

    def _works_on(self, shared: int, each: int) -> None:
        """Count workspaces in values of float32: one that threads share, and one of each thread."""
        self.meter.workspace = max(self.meter.workspace, 4 * shared)
        self.meter.scratch = max(self.meter.scratch, 4 * each)

    def _drops(self, values: int) -> None:
        """Count temporary arrays of so many values of float32."""
        self._new((values,), np.float32)
