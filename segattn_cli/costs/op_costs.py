"""What one call of an op costs at the sizes of DANet: a crop of 769×769 pixels of Cityscapes, output stride 8."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

Shape = tuple[int, ...]

_GRID, _IMAGE = (97, 97), (769, 769)
_PIXELS = _GRID[0] * _GRID[1]
_CHANNELS, _INNER, _CLASSES, _SCALES = 512, 64, 19, 2
_MAP: Shape = (1, *_GRID, _CHANNELS)
_SCORES: Shape = (1, *_IMAGE, _CLASSES)
_KERNEL: Shape = (3, 3, _CHANNELS, _CHANNELS)
_CHANNEL: Shape = (_CHANNELS,)
_TOKENS: Shape = (1, _PIXELS, _CHANNELS)
_NORM = {"x": _MAP, "scale": _CHANNEL, "shift": _CHANNEL, "mean": _CHANNEL, "variance": _CHANNEL}

#: The arrays of a call by the names of its arguments, and its options. ``labels`` are bytes, a ``mask`` is boolean.
CALLS: dict[str, tuple[dict[str, Shape], dict[str, Any]]] = {
    "batch_norm": (_NORM, {"training": True}),
    "batch_norm_relu": (_NORM, {"training": True}),
    "channel_attention": ({"x": _TOKENS}, {}),
    "conv2d": ({"x": _MAP, "weight": _KERNEL}, {"padding": 1}),
    "conv2d_relu": ({"x": _MAP, "weight": _KERNEL}, {"padding": 1}),
    "dropout": ({"x": _MAP, "mask": (1, 1, 1, _CHANNELS)}, {"rate": 0.1}),
    "gated_residual": ({"x": _MAP, "update": _MAP, "gate": ()}, {}),
    "global_mean_pool": ({"x": (1, *_GRID, _CLASSES)}, {}),
    "hard_pixels": ({"logits": _SCORES, "labels": _SCORES[:-1]}, {"threshold": 0.7, "least": 1 / 16}),
    "label_map": ({"scores": _SCORES}, {}),
    "linear": ({"x": _TOKENS, "weight": (_CHANNELS, _INNER), "bias": (_INNER,)}, {}),
    "lovasz_softmax": ({"logits": _SCORES, "labels": _SCORES[:-1]}, {}),
    "max_pool2d": ({"x": (1, 385, 385, _INNER)}, {"window": 3, "stride": 2, "padding": 1}),
    "position_attention": (
        {"query": (1, _PIXELS, _INNER), "key": (1, _PIXELS, _INNER), "value": _TOKENS}, {},
    ),
    "relu": ({"x": _MAP}, {}),
    "resize_bilinear": ({"x": (1, *_GRID, _CLASSES)}, {"size": _IMAGE}),
    "scale_fusion": (
        {"scores": (_SCALES, 1, *_GRID, _CLASSES), "scale_logits": (1, *_GRID, _SCALES)}, {},
    ),
    "scale_max": ({"scores": (_SCALES, 1, *_GRID, _CLASSES)}, {}),
    "scale_mean": ({"scores": (_SCALES, 1, *_GRID, _CLASSES)}, {}),
    "softmax": ({"x": (1, *_GRID, _CLASSES)}, {}),
    "softmax_cross_entropy": ({"logits": _SCORES, "labels": _SCORES[:-1]}, {}),
    "softmax_dice": ({"logits": _SCORES, "labels": _SCORES[:-1]}, {}),
    "softmax_focal": ({"logits": _SCORES, "labels": _SCORES[:-1]}, {}),
}  # fmt: skip


@dataclass(frozen=True)
class OpCost:
    """Multiply-adds of matrix products and convolutions, and bytes."""

    inputs: dict[str, Shape]
    options: dict[str, Any]
    output: Shape
    #: Multiply-adds; 0 for an op without products, whose time is that of its passes over memory.
    forward: int
    backward: int
    #: Bytes of the arguments and of the result.
    input_bytes: int
    output_bytes: int
    #: Bytes that the cache keeps alive for the backward pass beyond arguments and result; None without backward.
    saved_bytes: int | None


def op_cost(op: str) -> OpCost:
    """The cost of the call in :data:`CALLS`, in float32, with the backend ``numba``.

    >>> cost = op_cost("position_attention")
    >>> cost.forward == 9409**2 * (64 + 512)  # the products query·keyᵀ and attention·value
    True
    >>> cost.saved_bytes == 2 * 4 * 9409  # a maximum and a sum for each row, and no N×N matrix
    True
    """
    shapes, options = CALLS[op]
    meter = CostMeter()
    ops = CountingOps(meter)
    inputs = {name: ShapeArray(shape, _dtype(name), meter) for name, shape in shapes.items()}
    before = meter.alive
    result = getattr(ops, op)(**inputs, **options)
    y, cache = result if isinstance(result, tuple) else (result, None)
    backward = getattr(ops, f"{op}_backward", None)
    own = {id(array) for array in (*inputs.values(), y)}
    saved = {id(array): array.nbytes for array in _arrays(cache) if id(array) not in own}
    if backward is not None:
        backward(1.0 if y.shape == () else ShapeArray(y.shape, y.dtype, meter), cache)
    return OpCost(
        shapes, options, y.shape, meter.forward, meter.backward, before, y.nbytes,
        None if backward is None else sum(saved.values()),
    )  # fmt: skip


def _dtype(name: str) -> type:
    return {"labels": np.uint8, "mask": np.bool_}.get(name, np.float32)


def _arrays(cache: Any) -> Iterable[ShapeArray]:
    """The arrays of a cache, however deep."""
    if isinstance(cache, ShapeArray):
        yield cache
    elif isinstance(cache, tuple):
        for each in cache:
            yield from _arrays(each)
