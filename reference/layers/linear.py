"""Linear maps of pixels (1×1 convolutions), dropout, and the two together as a classifier."""

from __future__ import annotations

import numpy as np

from reference.layers.base import Array, Init, Layer, draw
from reference.layers.context import Context, scoped_name
from reference.layers.initial import uniform_fan_in


class Linear(Layer):
    """``y = x·weight + bias`` for each pixel or token. Parameters ``name.weight (C_in, C_out)``, ``name.bias``."""

    def __init__(self, name: str, in_channels: int, out_channels: int, *, init: Init = uniform_fan_in) -> None:
        self.name = name
        self.shape = (in_channels, out_channels)
        self.init = init

    def initial_values(self, seed: int | None) -> dict[str, np.ndarray]:
        return {
            f"{self.name}.weight": draw(self.init, seed, f"{self.name}.weight", self.shape),
            f"{self.name}.bias": np.zeros(self.shape[-1], np.float32),
        }

    def forward(self, x: Array, ctx: Context) -> Array:
        weight, bias = ctx.params[f"{self.name}.weight"], ctx.params[f"{self.name}.bias"]
        return ctx.save(self.name, ctx.ops.linear(x, weight, bias))  # (…, C_out)

    def backward(self, dy: Array, ctx: Context) -> Array:
        dx, dweight, dbias = ctx.ops.linear_backward(dy, ctx.saved(self.name))
        ctx.accumulate(f"{self.name}.weight", dweight)
        ctx.accumulate(f"{self.name}.bias", dbias)
        return dx


class Dropout(Layer):
    """Dropout of values, or with ``channels`` of whole channels; it does nothing if the context draws no masks."""

    def __init__(self, name: str, rate: float, *, channels: bool = False) -> None:
        self.name = name
        self.rate = rate
        self.channels = channels

    def forward(self, x: Array, ctx: Context) -> Array:
        if ctx.draw_mask is None or self.rate == 0:
            return x
        shape = (x.shape[0], 1, 1, x.shape[-1]) if self.channels else tuple(x.shape)
        mask = ctx.draw_mask(scoped_name(ctx.scope, self.name), shape, self.rate)
        return ctx.save(self.name, ctx.ops.dropout(x, mask, rate=self.rate))

    def backward(self, dy: Array, ctx: Context) -> Array:
        if ctx.draw_mask is None or self.rate == 0:
            return dy
        return ctx.ops.dropout_backward(dy, ctx.saved(self.name))


class Classifier(Layer):
    """Dropout of whole channels, then one score a class from each pixel's features: the end of a DANet branch."""

    def __init__(self, name: str, in_channels: int, classes: int, *, rate: float = 0.1) -> None:
        self.dropout = Dropout(f"{name}.dropout", rate, channels=True)
        self.linear = Linear(name, in_channels, classes)

    def forward(self, x: Array, ctx: Context) -> Array:
        return self.linear.forward(self.dropout.forward(x, ctx), ctx)  # (B, H, W, K)

    def backward(self, dy: Array, ctx: Context) -> Array:
        return self.dropout.backward(self.linear.backward(dy, ctx), ctx)
