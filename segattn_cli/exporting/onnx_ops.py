"""The ops of inference as operators of ONNX: a network that runs on them is recorded instead of computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segattn_cli.exporting.dimensions import Dimension
from segattn_cli.exporting.graph import Constant, Node, Value
from segattn_cli.exporting.traced import Parameter, TracedArray, size_vector

#: No op has a cache, since there is no backward pass.
Traced = tuple[TracedArray, None]


class OnnxOps:
    """The ops of :class:`backends.contract.Ops` by which networks predict, each with the same arguments.

    Ops of training are missing: backward passes, ``dropout``, the losses, and
    ``global_mean_pool`` of the scale classifier. Nor is ``to_numpy``, as there are no values.

    Args:
        opset: the version of ONNX's operators to write.

    >>> ops = OnnxOps(opset=17)
    >>> y, _ = ops.relu(TracedArray(Value("x"), ndim=4, channels=3))
    >>> y.value.kind, y.channels
    ('Relu', 3)
    """

    name = "onnx"

    def __init__(self, opset: int) -> None:
        self.opset = opset

    # Arrays

    def asarray(self, x: Any, dtype: Any = None) -> Parameter:
        return x if isinstance(x, Parameter) else Parameter("", np.asarray(x, dtype or np.float32))

    def concatenate(self, arrays: Sequence[TracedArray]) -> TracedArray:
        first = arrays[0]
        joined = Node("Concat", *(array.value for array in arrays), axis=first.channel_axis)
        return TracedArray(joined, first.ndim, sum(array.channels for array in arrays))

    def stack(self, arrays: Sequence[TracedArray]) -> TracedArray:
        raised = [Node("Unsqueeze", array.value, Constant(np.array([0]))) for array in arrays]  # (1, B, C, H, W)
        return TracedArray(Node("Concat", *raised, axis=0), arrays[0].ndim + 1, arrays[0].channels)

    # Convolution, normalisation, activation

    def conv2d(
        self, x: TracedArray, weight: Parameter, bias: Parameter | None = None, *, stride: int = 1,
        padding: int = 0, dilation: int = 1,
    ) -> Traced:
        geometry = {"strides": [stride] * 2, "pads": [padding] * 4, "dilations": [dilation] * 2}
        return _conv(x, weight, bias, **geometry), None

    def conv2d_relu(
        self, x: TracedArray, weight: Parameter, bias: Parameter | None = None, residual: TracedArray | None = None,
        *, stride: int = 1, padding: int = 0, dilation: int = 1, overwrite_residual: bool = False,
    ) -> Traced:
        y, _ = self.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
        return self.relu(y if residual is None else y + residual)

    def batch_norm(
        self, x: TracedArray, scale: Parameter, shift: Parameter, mean: Parameter, variance: Parameter, *,
        training: bool, eps: float = 1e-5,
    ) -> Traced:
        assert not training, "a model is exported for inference"
        constants = [each.constant for each in (scale, shift, mean, variance)]
        return _like(x, "BatchNormalization", *constants, epsilon=eps), None

    def batch_norm_relu(
        self, x: TracedArray, scale: Parameter, shift: Parameter, mean: Parameter, variance: Parameter,
        residual: TracedArray | None = None, *, training: bool, eps: float = 1e-5,
    ) -> Traced:
        y, _ = self.batch_norm(x, scale, shift, mean, variance, training=training, eps=eps)
        return self.relu(y if residual is None else y + residual)

    def relu(self, x: TracedArray) -> Traced:
        return _like(x, "Relu"), None

    # Pooling, resizing, linear maps

    def max_pool2d(self, x: TracedArray, *, window: int, stride: int, padding: int = 0) -> Traced:
        pads = [padding] * 4
        return _like(x, "MaxPool", kernel_shape=[window] * 2, strides=[stride] * 2, pads=pads), None

    def resize_bilinear(
        self, x: TracedArray, size: tuple[Dimension | int, Dimension | int], *, align_corners: bool = False
    ) -> Traced:
        batch, _, _, channels = x.shape
        sizes = size_vector([batch, channels, *size])
        mode = "align_corners" if align_corners else "half_pixel"
        return _like(x, "Resize", None, None, sizes, mode="linear", coordinate_transformation_mode=mode), None

    def linear(self, x: TracedArray, weight: Parameter, bias: Parameter | None = None) -> Traced:
        return _conv(x, weight, bias), None

    # Probabilities

    def softmax(self, x: TracedArray) -> Traced:
        return _like(x, "Softmax", axis=x.channel_axis), None

    # The attentions of DANet

    def position_attention(self, query: TracedArray, key: TracedArray, value: TracedArray) -> Traced:
        energy = Node("MatMul", _transposed(query.value), key.value)  # (B, N, D) · (B, D, N)
        attention = Node("Softmax", energy, axis=-1)  # (B, N, N), rows are queries
        y = Node("MatMul", attention, _transposed(value.value))  # (B, N, C)
        return TracedArray(_transposed(y), 3, value.channels), None  # (B, C, N)

    def channel_attention(self, x: TracedArray, *, form: str = "released") -> Traced:
        energy = Node("MatMul", x.value, _transposed(x.value))  # (B, C, N) · (B, N, C)
        signed = energy if form == "paper" else Node("Neg", energy)  # softmax(max − e) is softmax(−e)
        attention = Node("Softmax", signed, axis=-1)  # (B, C, C), rows are queries
        return TracedArray(Node("MatMul", attention, x.value), 3, x.channels), None  # (B, C, N)

    def gated_residual(self, x: TracedArray, update: TracedArray, gate: Parameter) -> Traced:
        gated = Node("Mul", gate.constant, update.value)
        return _like(x, "Add", gated), None

    # Attention to Scale

    def scale_fusion(self, scores: TracedArray, scale_logits: TracedArray) -> Traced:
        weights, _ = self.softmax(scale_logits)
        scales_first = Node("Transpose", weights.value, perm=[1, 0, 2, 3])  # (S, B, H, W)
        scales_first = Node("Unsqueeze", scales_first, Constant(np.array([2])))  # (S, B, 1, H, W)
        weighted = Node("Mul", scores.value, scales_first)  # (S, B, K, H, W)
        return self._over_scales("ReduceSum", weighted, scores.channels), None

    def scale_max(self, scores: TracedArray) -> Traced:
        return self._over_scales("ReduceMax", scores.value, scores.channels), None

    def scale_mean(self, scores: TracedArray) -> Traced:
        return self._over_scales("ReduceMean", scores.value, scores.channels), None

    def _over_scales(self, reduce: str, stacked: Value, channels: int) -> TracedArray:
        """``(S, B, K, H, W) → (B, K, H, W)``."""
        if reduce == "ReduceSum" or self.opset >= 18:  # where the axes became an input
            fused = Node(reduce, stacked, Constant(np.array([0])), keepdims=0)
        else:
            fused = Node(reduce, stacked, axes=[0], keepdims=0)
        return TracedArray(fused, 4, channels)


def _conv(x: TracedArray, weight: Parameter, bias: Parameter | None, **geometry: list[int]) -> TracedArray:
    """A convolution of maps or, with a linear map's weight, of tokens."""
    constants = [weight.kernel(x.ndim)] + ([] if bias is None else [bias.constant])
    return TracedArray(Node("Conv", x.value, *constants, **geometry), x.ndim, weight.shape[-1])


def _like(x: TracedArray, kind: str, *inputs: Value | None, **attributes: Any) -> TracedArray:
    """An operator on ``x`` that keeps its axes and its channels."""
    return TracedArray(Node(kind, x.value, *inputs, **attributes), x.ndim, x.channels)


def _transposed(matrices: Value) -> Node:
    return Node("Transpose", matrices, perm=[0, 2, 1])
