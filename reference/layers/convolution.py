"""Convolutions, alone, with a ReLU, and with a batch norm."""

from __future__ import annotations

import numpy as np

from reference.layers.base import Array, Init, Layer, draw
from reference.layers.context import Context
from reference.layers.initial import he_fan_in, he_fan_out
from reference.layers.synchronised import SynchronisedCache, synchronised_norm, synchronised_norm_backward


class Conv(Layer):
    """A convolution that preserves the size at stride 1: its padding is ``dilation·(kernel − 1)/2``.

    Parameters: ``name.weight (k, k, C_in, C_out)`` and, with ``bias``, ``name.bias (C_out,)``.
    """

    def __init__(
        self, name: str, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1,
        bias: bool = True, init: Init = he_fan_in,
    ) -> None:
        self.name = name
        self.shape = (kernel, kernel, in_channels, out_channels)
        self.geometry = {"stride": stride, "padding": dilation * (kernel - 1) // 2, "dilation": dilation}
        self.bias = bias
        self.init = init

    def initial_values(self, seed: int | None) -> dict[str, np.ndarray]:
        params = {f"{self.name}.weight": draw(self.init, seed, f"{self.name}.weight", self.shape)}
        if self.bias:
            params[f"{self.name}.bias"] = np.zeros(self.shape[-1], np.float32)
        return params

    def weights(self, ctx: Context) -> tuple[Array, Array | None]:
        """The weight and the bias, which also a folded batch norm leaves."""
        return ctx.params[f"{self.name}.weight"], ctx.params.get(f"{self.name}.bias")

    def forward(self, x: Array, ctx: Context) -> Array:
        return ctx.save(self.name, ctx.ops.conv2d(x, *self.weights(ctx), **self.geometry))  # (B, H', W', C_out)

    def backward(self, dy: Array, ctx: Context, *, needs_dx: bool = True) -> Array:
        dx, dweight, dbias = ctx.ops.conv2d_backward(dy, ctx.saved(self.name), needs_dx=needs_dx)
        ctx.accumulate(f"{self.name}.weight", dweight)
        ctx.accumulate(f"{self.name}.bias", dbias)
        return dx


class ConvRelu(Layer):
    """Convolution with bias, then ReLU: the layer of VGG."""

    def __init__(
        self, name: str, in_channels: int, out_channels: int, kernel: int, *, dilation: int = 1
    ) -> None:
        self.name = name
        self.conv = Conv(name, in_channels, out_channels, kernel, dilation=dilation)

    def forward(self, x: Array, ctx: Context) -> Array:
        return ctx.save(f"{self.name}.relu", ctx.ops.conv2d_relu(x, *self.conv.weights(ctx), **self.conv.geometry))

    def backward(self, dy: Array, ctx: Context, *, needs_dx: bool = True) -> Array:
        cache = ctx.saved(f"{self.name}.relu")
        dx, dweight, dbias, _ = ctx.ops.conv2d_relu_backward(dy, cache, needs_dx=needs_dx)
        ctx.accumulate(f"{self.name}.weight", dweight)
        ctx.accumulate(f"{self.name}.bias", dbias)
        return dx


class ConvNorm(Layer):
    """Convolution, batch norm and, optionally, ReLU; a residual is added between the norm and the ReLU.

    Parameters: ``conv.weight``, and ``norm.weight``, ``norm.bias``, ``norm.running_mean``, ``norm.running_var``
    ``(C_out,)``, with the names ``conv`` and ``norm`` given separately, because torchvision's do not nest.

    If the parameters of the norm are absent, it has been folded into the convolution for inference, and only the
    sum and the ReLU are left to compute: see :meth:`fold`.
    """

    def __init__(
        self, conv: str, norm: str, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1,
        dilation: int = 1, relu: bool = True,
    ) -> None:
        self.norm = norm
        self.relu = relu
        self.conv = Conv(
            conv, in_channels, out_channels, kernel, stride=stride, dilation=dilation, bias=False, init=he_fan_out
        )

    def initial_values(self, seed: int | None) -> dict[str, np.ndarray]:
        channels = self.conv.shape[-1]
        return {
            f"{self.norm}.weight": np.ones(channels, np.float32),
            f"{self.norm}.bias": np.zeros(channels, np.float32),
            f"{self.norm}.running_mean": np.zeros(channels, np.float32),
            f"{self.norm}.running_var": np.ones(channels, np.float32),
        }

    def forward(self, x: Array, ctx: Context, residual: Array | None = None) -> Array:
        if f"{self.norm}.weight" not in ctx.params:
            return self._forward_folded(x, residual, ctx)
        y = self.conv.forward(x, ctx)
        norm = [ctx.params[f"{self.norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        if ctx.batch_statistics and ctx.share is not None:
            y, synchronised = synchronised_norm(
                ctx.ops, y, norm[0], norm[1], residual, ctx.share, relu=self.relu
            )
            measured = synchronised.statistics
            ctx.measure(self.norm, measured.mean, measured.variance, measured.count)
            return ctx.save(self.norm, (y, synchronised))
        if self.relu:
            y, cache = ctx.ops.batch_norm_relu(y, *norm, residual, training=ctx.batch_statistics)
        else:
            y, cache = ctx.ops.batch_norm(y, *norm, training=ctx.batch_statistics)
        if ctx.batch_statistics:
            ctx.measure(self.norm, cache.mean, cache.variance, y.size // y.shape[-1])
        return ctx.save(self.norm, (y, cache))

    def backward(self, dy: Array, ctx: Context, *, needs_dx: bool = True) -> tuple[Array, Array | None]:
        """Return ``dx`` (None if it is not needed) and the gradient of the residual (None without one)."""
        cache = ctx.saved(self.norm)
        if ctx.share is not None and isinstance(cache, SynchronisedCache):
            dy, dscale, dshift, dresidual = synchronised_norm_backward(
                ctx.ops, dy, cache, ctx.share, relu=self.relu
            )
        elif self.relu:
            dy, dscale, dshift, dresidual = ctx.ops.batch_norm_relu_backward(dy, cache)
        else:
            (dy, dscale, dshift), dresidual = ctx.ops.batch_norm_backward(dy, cache), None
        ctx.accumulate(f"{self.norm}.weight", dscale)
        ctx.accumulate(f"{self.norm}.bias", dshift)
        return self.conv.backward(dy, ctx, needs_dx=needs_dx), dresidual

    def _forward_folded(self, x: Array, residual: Array | None, ctx: Context) -> Array:
        if ctx.save_for_backward:
            raise ValueError(
                f"{self.norm} is folded into {self.conv.name} for inference: a backward pass needs the parameters "
                "before Network.fold"
            )
        if not self.relu:
            return self.conv.forward(x, ctx)
        weight, bias = self.conv.weights(ctx)
        geometry = self.conv.geometry
        y = ctx.ops.conv2d_relu(x, weight, bias, residual, **geometry, overwrite_residual=ctx.overwrite)
        return ctx.save(self.norm, y)

    def fold(self, params: dict[str, Array], eps: float = 1e-5) -> None:
        """Replace the norm, in the dict ``params``, by a scaled weight and a bias of the convolution.

        At inference the norm is ``(z − mean)·a + shift`` with ``a = scale/√(variance + eps)`` for each channel of
        ``z = conv(x, weight)``, which is ``conv(x, weight·a) + (shift − mean·a)``.
        """
        scale, shift, mean, variance = (
            params.pop(f"{self.norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        a = scale / (variance + eps) ** 0.5  # (C_out,)
        params[f"{self.conv.name}.weight"] = params[f"{self.conv.name}.weight"] * a
        params[f"{self.conv.name}.bias"] = shift - mean * a
