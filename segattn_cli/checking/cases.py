"""The cases of each op: named inputs, drawn from a seed, on which every backend must agree with the reference.

Beside simple inputs there are odd shapes, windows that reach over the edge, maps of one pixel, batches of one,
ties, ignored labels, logits of ±1000, and three layouts in memory: strided, transposed and read-only. Inputs are
well-conditioned, so that a difference beyond the tolerance is an error and not rounding: logits of attentions that
reach ±1000 are products of small integers, which are exact in every dtype.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Shape = tuple[int, ...]
LAYOUTS = ("strided", "transposed", "read-only")


@dataclass(frozen=True)
class Case:
    """One call of an op: its inputs (floats in float64, to be cast to the dtype of the run) and options."""

    name: str
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    layout: str = "plain"


def cases(op: str, seed: int = 0) -> list[Case]:
    """The cases of ``op``; the first is repeated in each of :data:`LAYOUTS`.

    >>> [case.name for case in cases("scale_mean")]
    ['3 scales', '1 scale', '1×1 map', 'strided', 'transposed', 'read-only']
    """
    draw = Draw(seed, op)
    cases = [Case(*case) for case in CASES[op](draw)]
    return cases + [replace(cases[0], name=layout, layout=layout) for layout in LAYOUTS]


def lay_out(x: Any, layout: str) -> Any:
    """The values of ``x`` in another memory layout; only arrays with axes have one."""
    if not isinstance(x, np.ndarray) or layout == "plain":
        return x
    if layout == "read-only":
        x = x.copy()
        x.setflags(write=False)
        return x
    if x.ndim == 0:
        return x
    if layout == "transposed":
        return np.asfortranarray(x)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::-2] = x
    return wide[..., ::-2]


class Draw:
    """Random arrays of one op."""

    def __init__(self, seed: int, op: str) -> None:
        self.rng = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(op.encode())]))

    def __call__(self, *shape: int) -> np.ndarray:
        """Standard normal values."""
        return self.rng.standard_normal(shape)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Integers from ``low`` to ``high``, both included, as floats: their products are exact."""
        return self.rng.integers(low, high, shape, endpoint=True).astype(np.float64)

    def labels(self, classes: int, *shape: int, ignored: float = 0.0) -> np.ndarray:
        """Labels, of which a fraction ``ignored`` is 255."""
        labels = self.rng.integers(classes, size=shape, dtype=np.uint8)
        labels[self.rng.random(shape) < ignored] = 255
        return labels

    def mask(self, *shape: int) -> np.ndarray:
        """True for about half of the values."""
        return self.rng.random(shape) < 0.5

    def extreme_logits(self, *shape: int) -> np.ndarray:
        """Two thirds normal values, the rest −1000 or 1000."""
        return np.where(self.rng.random(shape) < 1 / 3, 1000 * self.rng.choice([-1.0, 1.0], shape), self(*shape))


def _conv2d(draw: Draw) -> list[tuple]:
    def case(name: str, x: Shape, weight: Shape, *, bias: bool = True, **options: int) -> tuple:
        return name, (draw(*x), draw(*weight), draw(weight[3]) if bias else None), options

    return [
        case("3×3", (2, 7, 9, 5), (3, 3, 5, 6), padding=1),
        case("no bias", (2, 6, 5, 3), (3, 3, 3, 4), bias=False, padding=1),
        case("no padding", (1, 6, 5, 3), (3, 3, 3, 4)),
        case("1×1", (2, 5, 7, 6), (1, 1, 6, 4)),
        case("1×1, stride 2", (2, 5, 8, 6), (1, 1, 6, 4), bias=False, stride=2),
        case("stride 2, odd map", (2, 9, 7, 3), (3, 3, 3, 5), stride=2, padding=1),
        case("stride 2, even map", (2, 8, 10, 3), (3, 3, 3, 5), stride=2, padding=1),
        case("stride 3 that skips the last rows", (1, 9, 8, 2), (1, 1, 2, 3), stride=3),
        case("7×7, stride 2", (1, 15, 18, 3), (7, 7, 3, 4), stride=2, padding=3),
        case("dilation 2", (2, 9, 11, 4), (3, 3, 4, 5), padding=2, dilation=2),
        case("dilation 2, stride 2", (1, 11, 8, 4), (3, 3, 4, 5), stride=2, padding=2, dilation=2),
        case("dilation 12, wider than the map", (1, 6, 14, 4), (3, 3, 4, 3), padding=12, dilation=12),
        case("2×3 kernel, large padding", (1, 4, 5, 2), (2, 3, 2, 3), padding=3),
        case("1×1 map", (1, 1, 1, 4), (3, 3, 4, 2), padding=1),
        case("one channel", (2, 5, 6, 1), (3, 3, 1, 1), padding=1),
        case("large", (2, 40, 67, 24), (3, 3, 24, 20), padding=1),
    ]


def _conv2d_relu(draw: Draw) -> list[tuple]:
    def case(name: str, x: Shape, weight: Shape, y: Shape | None = None, **options: int) -> tuple:
        return name, (draw(*x), draw(*weight), draw(weight[3]), *([draw(*y)] if y else [])), options

    return [
        case("3×3, residual", (2, 7, 9, 5), (3, 3, 5, 6), (2, 7, 9, 6), padding=1),
        case("3×3", (2, 7, 9, 5), (3, 3, 5, 6), padding=1),
        case("1×1, residual", (2, 5, 7, 6), (1, 1, 6, 4), (2, 5, 7, 4)),
        case("stride 2, residual", (2, 9, 7, 3), (3, 3, 3, 5), (2, 5, 4, 5), stride=2, padding=1),
        case("dilation 2", (2, 9, 11, 4), (3, 3, 4, 5), padding=2, dilation=2),
        case("large, residual", (2, 18, 29, 40), (3, 3, 40, 36), (2, 18, 29, 36), padding=1),
    ]


def _norm_arguments(draw: Draw, channels: int) -> tuple[np.ndarray, ...]:
    return draw(channels), draw(channels), draw(channels), 0.5 + draw(channels) ** 2


def _batch_norm(draw: Draw) -> list[tuple]:
    x = draw(2, 5, 7, 6)
    constant = x * [1, 1, 0, 1, 0, 1]
    return [
        ("training", (x, *_norm_arguments(draw, 6)), {"training": True}),
        ("inference", (x, *_norm_arguments(draw, 6)), {"training": False}),
        ("mean 30 times the deviation", (x + 30, *_norm_arguments(draw, 6)), {"training": True}),
        ("constant channels", (constant, *_norm_arguments(draw, 6)), {"training": True}),
        ("one value a channel", (draw(1, 1, 1, 4), *_norm_arguments(draw, 4)), {"training": True}),
        ("one channel", (draw(3, 4, 5, 1), *_norm_arguments(draw, 1)), {"training": True, "eps": 1e-3}),
        ("large", (draw(2, 37, 41, 24), *_norm_arguments(draw, 24)), {"training": True}),
    ]


def _batch_norm_relu(draw: Draw) -> list[tuple]:
    x, residual, one = draw(2, 5, 7, 6), draw(2, 5, 7, 6), draw(1, 1, 1, 4)
    return [
        ("training, residual", (x, *_norm_arguments(draw, 6), residual), {"training": True}),
        ("training", (x, *_norm_arguments(draw, 6)), {"training": True}),
        ("inference, residual", (x, *_norm_arguments(draw, 6), residual), {"training": False}),
        ("inference", (x, *_norm_arguments(draw, 6)), {"training": False}),
        ("one value a channel", (one, *_norm_arguments(draw, 4), -one), {"training": True}),
        ("large", (draw(2, 37, 41, 24), *_norm_arguments(draw, 24), draw(2, 37, 41, 24)), {"training": True}),
    ]


def _relu(draw: Draw) -> list[tuple]:
    return [
        ("map", (draw(2, 5, 7, 3),)),
        ("zeros", (draw.integers(-1, 1, 3, 5, 4),)),
        ("one value", (draw(1),)),
        ("large", (draw(2, 61, 67, 8),)),
    ]


def _max_pool2d(draw: Draw) -> list[tuple]:
    def case(name: str, x: np.ndarray, window: int, stride: int, padding: int = 0) -> tuple:
        return name, (x,), {"window": window, "stride": stride, "padding": padding}

    return [
        case("3×3, stride 2", draw(2, 9, 7, 3), 3, 2, 1),
        case("3×3, stride 1", draw(2, 5, 6, 3), 3, 1, 1),
        case("2×2, odd map", draw(2, 7, 5, 3), 2, 2),
        case("ties", draw.integers(0, 2, 2, 8, 9, 3), 3, 2, 1),
        case("all equal", np.ones((1, 6, 7, 2)), 3, 2, 1),
        case("negative up to the edge", draw(1, 6, 7, 2) - 100, 3, 2, 1),
        case("gaps between windows", draw(1, 9, 8, 2), 2, 3),
        case("1×1 map", draw(1, 1, 1, 3), 3, 2, 1),
        case("large", draw(2, 45, 61, 16), 3, 2, 1),
    ]


def _global_mean_pool(draw: Draw) -> list[tuple]:
    return [
        ("map", (draw(2, 5, 7, 3),)),
        ("1×1 map", (draw(1, 1, 1, 4),)),
        ("one channel", (draw(3, 8, 9, 1) + 5,)),
    ]


def _linear(draw: Draw) -> list[tuple]:
    def case(name: str, x: Shape, out: int, *, bias: bool = True) -> tuple:
        return name, (draw(*x), draw(x[-1], out), draw(out) if bias else None)

    return [
        case("tokens", (2, 11, 6), 5),
        case("map", (2, 4, 5, 6), 3),
        case("rows, no bias", (9, 6), 5, bias=False),
        case("one row", (1, 4), 3),
        case("one channel in and out", (2, 7, 1), 1),
        case("large", (2, 300, 40), 24),
    ]


def _dropout(draw: Draw) -> list[tuple]:
    x = draw(3, 5, 7, 8)
    return [
        ("whole channels", (x, draw.mask(3, 1, 1, 8)), {"rate": 0.1}),
        ("values", (x, draw.mask(3, 5, 7, 8)), {"rate": 0.5}),
        ("rate 0", (x, np.ones(x.shape, bool)), {"rate": 0.0}),
        ("everything dropped", (x, np.zeros((3, 1, 1, 8), bool)), {"rate": 0.5}),
    ]


def _resize_bilinear(draw: Draw) -> list[tuple]:
    sizes: list[tuple[str, Shape, Shape]] = [
        ("up", (2, 5, 7, 3), (13, 16)),
        ("down", (2, 13, 16, 3), (5, 7)),
        ("half", (1, 8, 12, 3), (4, 6)),
        ("up and down", (1, 4, 15, 2), (9, 6)),
        ("same size", (2, 5, 6, 3), (5, 6)),
        ("from one pixel", (2, 1, 1, 3), (4, 5)),
        ("to one pixel", (2, 5, 7, 3), (1, 1)),
        ("large", (2, 23, 30, 12), (90, 119)),
    ]
    return [
        (f"{name}{', aligned corners' * aligned}", (draw(*shape), size), {"align_corners": aligned})
        for name, shape, size in sizes
        for aligned in (False, True)
    ]


def _softmax(draw: Draw) -> list[tuple]:
    return [
        ("map", (draw(2, 4, 5, 3),)),
        ("logits ±1000", (draw.extreme_logits(2, 6, 7, 4),)),
        ("all logits 1000", (np.full((2, 3, 4), 1000.0),)),
        ("one class", (draw(5, 1),)),
    ]


def _softmax_cross_entropy(draw: Draw) -> list[tuple]:
    logits, labels = draw(2, 5, 7, 6), draw.labels(6, 2, 5, 7, ignored=0.3)
    return [
        ("some pixels ignored", (logits, labels)),
        ("all pixels ignored", (logits, np.full((2, 5, 7), 255, np.uint8))),
        ("one labelled pixel", (logits[:1], np.where(np.arange(35).reshape(1, 5, 7) == 17, 2, 255))),
        ("class weights", (logits, labels), {"class_weights": np.array([0.5, 2.0, 1.0, 0.0, 3.0, 0.1])}),
        ("only classes of weight 0", (logits, np.full((2, 5, 7), 3)), {"class_weights": np.eye(6)[0]}),
        ("logits ±1000", (draw.extreme_logits(2, 5, 7, 6), labels)),
        ("ignore label −1", (logits, np.where(labels == 255, -1, labels.astype(np.int64))), {"ignore_label": -1}),
        ("rows", (draw(9, 4), draw.labels(4, 9))),
        ("large", (draw(2, 60, 80, 11), draw.labels(11, 2, 60, 80, ignored=0.1))),
    ]


def _softmax_focal(draw: Draw) -> list[tuple]:
    return [
        *_softmax_cross_entropy(draw),
        ("gamma 0", (draw(2, 5, 7, 6), draw.labels(6, 2, 5, 7, ignored=0.3)), {"gamma": 0.0}),
        ("gamma 0.5", (3 * draw(2, 5, 7, 6), draw.labels(6, 2, 5, 7, ignored=0.3)), {"gamma": 0.5}),
    ]


def _softmax_dice(draw: Draw) -> list[tuple]:
    logits, labels = draw(2, 5, 7, 6), draw.labels(6, 2, 5, 7, ignored=0.3)
    return [
        ("some pixels ignored", (logits, labels)),
        ("all pixels ignored", (logits, np.full((2, 5, 7), 255, np.uint8))),
        ("one labelled pixel", (logits[:1], np.where(np.arange(35).reshape(1, 5, 7) == 17, 2, 255))),
        ("two classes do not occur", (logits, np.where(labels < 2, 3, labels))),
        ("logits ±1000", (draw.extreme_logits(2, 5, 7, 6), labels)),
        ("ignore label −1", (logits, np.where(labels == 255, -1, labels.astype(np.int64))), {"ignore_label": -1}),
        ("rows", (draw(9, 4), draw.labels(4, 9))),
        ("large", (draw(2, 60, 80, 11), draw.labels(11, 2, 60, 80, ignored=0.1))),
    ]


def _lovasz_softmax(draw: Draw) -> list[tuple]:
    """Errors that are equal but for rounding would be sorted in any order, and have other derivatives in each.

    So the large case has two classes, with a distance between its errors; those of a class and of the other one
    differ, too, by their places between the steps.
    """
    small = [case for case in _softmax_dice(draw) if case[0] not in ("logits ±1000", "large")]
    certain = np.where(draw.labels(3, 2, 9)[..., None] == np.arange(3), 1000.0, -1000.0)
    steps = 1500
    p = (draw.rng.permutation(steps) + 0.3) / steps
    logits = np.stack([np.log(p / (1 - p)), np.zeros(steps)], axis=-1)
    return [
        *small,
        ("certain", (certain, draw.labels(3, 2, 9))),
        ("large", (logits.reshape(2, 30, 25, 2), draw.labels(2, 2, 30, 25, ignored=0.1))),
    ]


def _position_attention(draw: Draw) -> list[tuple]:
    def case(name: str, batch: int, n: int, d: int, c: int) -> tuple:
        return name, (draw(batch, n, d), draw(batch, n, d), draw(batch, n, c))

    steep = draw.integers(-31, 31, 2, 40, 2), draw.integers(-31, 31, 2, 40, 2)  # logits beyond ±1000
    return [
        case("tokens", 2, 13, 4, 7),
        case("one token", 2, 1, 4, 5),
        case("one channel", 1, 9, 1, 1),
        case("257 tokens", 1, 257, 3, 5),
        case("1100 tokens", 1, 1100, 4, 6),
        ("logits ±1000", (*steep, draw(2, 40, 5))),
        ("query of zeros", (np.zeros((1, 12, 3)), draw(1, 12, 3), draw(1, 12, 4))),
    ]


def _channel_attention(draw: Draw) -> list[tuple]:
    inputs = [
        ("tokens", 0.3 * draw(2, 35, 6)),
        ("one token", draw(2, 1, 5)),
        ("one channel", 0.3 * draw(1, 20, 1)),
        ("energies ±1000", draw.integers(-16, 16, 1, 4, 7)),
        ("large", 0.05 * draw(1, 600, 40)),
    ]
    return [(f"{name}, {form}", (x,), {"form": form}) for name, x in inputs for form in ("released", "paper")]


def _gated_residual(draw: Draw) -> list[tuple]:
    x, update = draw(2, 35, 6), draw(2, 35, 6)
    return [
        ("gate 0.7", (x, update, np.array(0.7))),
        ("gate 0", (x, update, np.array(0.0))),
        ("negative gate", (x, update, np.array(-1.3))),
        ("one value", (draw(1, 1, 1), draw(1, 1, 1), np.array(0.2))),
    ]


def _scale_fusion(draw: Draw) -> list[tuple]:
    return [
        ("3 scales", (draw(3, 2, 5, 7, 4), draw(2, 5, 7, 3))),
        ("1 scale", (draw(1, 2, 5, 7, 4), draw(2, 5, 7, 1))),
        ("equal weights", (draw(2, 2, 5, 7, 4), np.zeros((2, 5, 7, 2)))),
        ("logits ±1000", (draw(3, 2, 5, 7, 4), draw.extreme_logits(2, 5, 7, 3))),
        ("1×1 map", (draw(2, 1, 1, 1, 3), draw(1, 1, 1, 2))),
    ]


def _scale_max(draw: Draw) -> list[tuple]:
    return [
        *_scale_mean(draw),
        ("ties", (draw.integers(-1, 1, 3, 2, 5, 7, 4),)),
        ("negative", (draw(2, 1, 5, 6, 3) - 9,)),
    ]


def _scale_mean(draw: Draw) -> list[tuple]:
    return [
        ("3 scales", (draw(3, 2, 5, 7, 4),)),
        ("1 scale", (draw(1, 2, 5, 7, 4),)),
        ("1×1 map", (draw(2, 1, 1, 1, 3),)),
    ]


def _concatenate(draw: Draw) -> list[tuple]:
    return [("3 maps", ([draw(2, 3, 5, 4), draw(2, 3, 5, 1), draw(2, 3, 5, 2)],)), ("1 map", ([draw(1, 2, 3, 4)],))]


def _stack(draw: Draw) -> list[tuple]:
    return [("3 maps", ([draw(2, 3, 5, 4) for _ in range(3)],)), ("1 map", ([draw(1, 2, 3, 4)],))]


CASES: dict[str, Callable[[Draw], list[tuple]]] = {
    "conv2d": _conv2d,
    "conv2d_relu": _conv2d_relu,
    "batch_norm": _batch_norm,
    "batch_norm_relu": _batch_norm_relu,
    "relu": _relu,
    "max_pool2d": _max_pool2d,
    "global_mean_pool": _global_mean_pool,
    "resize_bilinear": _resize_bilinear,
    "linear": _linear,
    "dropout": _dropout,
    "softmax": _softmax,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "softmax_focal": _softmax_focal,
    "softmax_dice": _softmax_dice,
    "lovasz_softmax": _lovasz_softmax,
    "position_attention": _position_attention,
    "channel_attention": _channel_attention,
    "gated_residual": _gated_residual,
    "scale_fusion": _scale_fusion,
    "scale_max": _scale_max,
    "scale_mean": _scale_mean,
    "concatenate": _concatenate,
    "stack": _stack,
}
