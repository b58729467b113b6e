"""The ops in plain PyTorch, each in every way that one would try: the peer of ``segattn bench``.

Arrays come in the project's order of axes, channels last. Maps go to PyTorch as ``(B, C, H, W)``, once with memory
in that order ("contiguous") and once as they are ("channels-last"); nothing is converted while the clock runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: The order of axes of what comes in → where PyTorch wants them.
MAP = (0, 3, 1, 2)  # (B, H, W, C) → (B, C, H, W)
KERNEL = (3, 2, 0, 1)  # (kh, kw, Ci, Co) → (Co, Ci, kh, kw)
SCORES = (0, 1, 4, 2, 3)  # (S, B, H, W, K) → (S, B, K, H, W)
TRANSPOSED = (0, 2, 1)  # (B, N, C) → (B, C, N)
AS_IS = None


class Op(NamedTuple):
    """One op: the axes of its inputs and of its output, and the functions that compute it, by name."""

    inputs: tuple[tuple[int, ...] | None, ...]
    output: tuple[int, ...] | None
    functions: Mapping[str, Callable[..., Tensor]]
    layouts: tuple[str, ...] = ("contiguous", "channels-last")


class Computation:
    """An op on given inputs, forward and backward as often as wanted."""

    def __init__(
        self, op: Op, function: Callable[..., Tensor], layout: str, inputs: Sequence[np.ndarray], dy: np.ndarray,
        options: Mapping[str, Any],
    ) -> None:
        self.op, self.function, self.options = op, function, options
        self.inputs = [_tensor(x, axes, layout) for x, axes in zip(inputs, op.inputs, strict=True)]
        self.leaves = [x.requires_grad_() for x in self.inputs if x.is_floating_point()]
        self.dy = _tensor(dy, op.output, layout)
        self.y: Tensor | None = None
        self.gradients: tuple[Tensor, ...] = ()
        self.works = {"forward": self.forward, "backward": self.backward}

    def forward(self) -> None:
        self.y, self.gradients = None, ()
        self.y = self.function(*self.inputs, **self.options)

    def backward(self) -> None:
        assert self.y is not None
        self.gradients = torch.autograd.grad(self.y, self.leaves, self.dy)

    def results(self) -> list[np.ndarray]:
        """The output and, after ``backward``, the gradients of all inputs, in the project's order of axes."""
        assert self.y is not None
        leaves = [a for x, a in zip(self.inputs, self.op.inputs, strict=True) if x.requires_grad]
        tensors = zip([self.y, *self.gradients], [self.op.output, *leaves], strict=False)
        return [_array(tensor, axes) for tensor, axes in tensors]


def computations(
    name: str, inputs: Sequence[np.ndarray], dy: np.ndarray, options: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], Computation]]]:
    """Every way to compute the op ``name``, by what it is called; each is prepared when it is called for."""
    op = OPS[name]
    for function_name, function in op.functions.items():
        for layout in op.layouts:
            called = " ".join(part for part in (function_name, layout if len(op.layouts) > 1 else "") if part)
            yield called or "plain", partial(Computation, op, function, layout, inputs, dy, options)


def _conv2d(x: Tensor, weight: Tensor, *, stride: int, padding: int, dilation: int) -> Tensor:
    return F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)


def _batch_norm_relu(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None = None) -> Tensor:
    y = F.batch_norm(x, None, None, scale, shift, training=True)
    return torch.relu(y if residual is None else y + residual)


def _max_pool2d(x: Tensor, *, window: int, stride: int, padding: int) -> Tensor:
    return F.max_pool2d(x, window, stride, padding)


def _resize_bilinear(x: Tensor, *, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=255)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight, bias)


def position_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.mT, dim=-1) @ value


def position_attention_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (x.unsqueeze(1) for x in (query, key, value))  # one head
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)


def position_attention_padded_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's attention without the N×N map wants query, key and value of one width."""
    pad = (0, value.shape[-1] - query.shape[-1])
    return position_attention_sdpa(F.pad(query, pad), F.pad(key, pad), value)


def _channel_attention(x: Tensor) -> Tensor:  # (B, C, N)
    energy = x @ x.mT  # (B, C, C)
    return torch.softmax(energy.amax(dim=-1, keepdim=True) - energy, dim=-1) @ x


def _scale_fusion(scores: Tensor, scale_logits: Tensor) -> Tensor:
    weights = torch.softmax(scale_logits, dim=1)  # (B, S, H, W)
    return (scores * weights.transpose(0, 1).unsqueeze(2)).sum(dim=0)


POSITION_ATTENTIONS = {
    "plain": position_attention,
    "sdpa": position_attention_sdpa,
    "padded sdpa": position_attention_padded_sdpa,
}
OPS = {
    "conv2d": Op((MAP, KERNEL), MAP, {"": _conv2d}),
    "linear": Op((AS_IS, (1, 0), AS_IS), AS_IS, {"": _linear}, ("contiguous",)),
    "batch_norm_relu": Op((MAP, AS_IS, AS_IS, MAP), MAP, {"": _batch_norm_relu}),
    "max_pool2d": Op((MAP,), MAP, {"": _max_pool2d}),
    "resize_bilinear": Op((MAP,), MAP, {"": _resize_bilinear}),
    "softmax_cross_entropy": Op((MAP, AS_IS), AS_IS, {"": _softmax_cross_entropy}),
    "position_attention": Op((AS_IS, AS_IS, AS_IS), AS_IS, POSITION_ATTENTIONS, ("contiguous",)),
    "channel_attention": Op((TRANSPOSED,), TRANSPOSED, {"": _channel_attention}),
    "scale_fusion": Op((SCORES, MAP), MAP, {"": _scale_fusion}),
}


def _tensor(array: np.ndarray, axes: tuple[int, ...] | None, layout: str) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array) if array.ndim else array)
    if not tensor.is_floating_point():
        tensor = tensor.long()  # labels
    if axes is not None:
        tensor = tensor.permute(axes)
    return tensor.contiguous() if layout == "contiguous" else tensor


def _array(tensor: Tensor, axes: tuple[int, ...] | None) -> np.ndarray:
    array = tensor.detach().numpy()
    return array if axes is None else array.transpose(np.argsort(axes))
