"""The ops in plain PyTorch, each in the variants that one would try: the baseline of ``segattn bench``.

Arrays come in the project's order of axes, channels last. Maps go to PyTorch as ``(B, C, H, W)``, once with memory
in that order ("contiguous") and once as they are ("channels-last"); nothing is converted while the clock runs.

On a GPU ("cuda") they can also be computed in "tf32", "float16" and "bfloat16".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

#: Precisions of 16 bits.
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}

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
    float_vectors: bool = False  # whether what has one value a channel stays float32 beside maps of 16 bits


class TorchOp:
    """An op on given inputs, forward and backward as often as wanted."""

    def __init__(
        self, op: Op, function: Callable[..., Tensor], layout: str, inputs: Sequence[np.ndarray], dy: np.ndarray,
        options: Mapping[str, Any], passes: Sequence[str] = ("forward", "backward"), *, device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.op, self.function, self.options = op, function, options
        tensor = partial(_tensor, layout=layout, device=device, dtype=HALVES.get(precision), op=op)
        self.inputs = [tensor(x, axes) for x, axes in zip(inputs, op.inputs, strict=True)]
        self.leaves = [x.requires_grad_() for x in self.inputs if x.is_floating_point()]
        self.dy = tensor(dy, op.output)
        self.y: Tensor | None = None
        self.gradients: tuple[Tensor, ...] = ()
        own: dict[str, Callable[[], None]] = {
            "forward": self.forward, "backward": self.backward, "forward+backward": self.forward_and_backward,
        }  # fmt: skip
        self.passes = {each: own[each] for each in passes}

    def forward(self) -> None:
        """Saves what a backward pass needs, where one follows."""
        self.y, self.gradients = None, ()
        with torch.set_grad_enabled("backward" in self.passes):
            self.y = self.function(*self.inputs, **self.options)

    def backward(self) -> None:
        assert self.y is not None
        self.gradients = torch.autograd.grad(self.y, self.leaves, self.dy)

    def forward_and_backward(self) -> None:
        self.y, self.gradients = None, ()
        y = self.function(*self.inputs, **self.options)
        self.gradients = torch.autograd.grad(y, self.leaves, self.dy)
        self.y = y.detach()

    def results(self) -> list[np.ndarray]:
        """The output and, after a backward pass, the gradients of all inputs, in the project's order of axes."""
        assert self.y is not None
        leaves = [a for x, a in zip(self.inputs, self.op.inputs, strict=True) if x.requires_grad]
        tensors = zip([self.y, *self.gradients], [self.op.output, *leaves], strict=False)
        return [_array(tensor, axes) for tensor, axes in tensors]


def op_variants(
    name: str, inputs: Sequence[np.ndarray], dy: np.ndarray, options: Mapping[str, Any],
    passes: Sequence[str] = ("forward", "backward"), *, device: str = "cpu", precision: str = "float32",
    compiled: bool = False,
) -> Iterator[tuple[str, Callable[[], TorchOp]]]:
    """The op ``name`` in every variant, by name; each is prepared when it is called for."""
    prepare(device, precision)
    op = OPS[name]
    compute = partial(TorchOp, op, passes=passes, device=device, precision=precision)
    functions = op.functions
    if name == "position_attention" and device == "cuda":
        functions = CUDA_POSITION_ATTENTIONS
    for function_name, function in functions.items():
        for layout in op.layouts:
            called = " ".join(part for part in (function_name, layout if len(op.layouts) > 1 else "") if part)
            yield called or "plain", partial(compute, function, layout, inputs, dy, options)
    if name == "position_attention" and compiled:

        def compile_plain() -> TorchOp:
            torch.compiler.reset()  # or shapes and dtypes of earlier benchmarks count against a limit
            function = torch.compile(position_attention, dynamic=False)
            return compute(function, op.layouts[0], inputs, dy, options)

        yield "compiled", compile_plain


def prepare(device: str, precision: str) -> None:
    """Set what is global in PyTorch: whether products may be TF32, and to search for the fastest convolution."""
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True


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
    return F.cross_entropy(logits.float(), labels, ignore_index=255)  # counts pixels beyond what float16 has


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


def position_attention_split_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The value cut into heads as wide as the query: the map is computed once a head, by kernels for one width."""
    batch, n, width = query.shape
    heads = value.shape[-1] // width
    split = value.reshape(batch, n, heads, width).transpose(1, 2)  # (B, heads, N, D)
    query, key = (x.unsqueeze(1).expand(-1, heads, -1, -1) for x in (query, key))
    y = F.scaled_dot_product_attention(query, key, split, scale=1.0)
    return y.transpose(1, 2).reshape(batch, n, heads * width)


def by(backend: SDPBackend, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` where PyTorch's attention is that of ``backend``; it raises where that refuses the shapes."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return function(query, key, value)

    return attend


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
CUDA_POSITION_ATTENTIONS = {
    "plain": position_attention,
    "sdpa flash": by(SDPBackend.FLASH_ATTENTION, position_attention_sdpa),
    "sdpa cudnn": by(SDPBackend.CUDNN_ATTENTION, position_attention_sdpa),
    "sdpa efficient": by(SDPBackend.EFFICIENT_ATTENTION, position_attention_sdpa),
    "sdpa math": by(SDPBackend.MATH, position_attention_sdpa),
    "split sdpa flash": by(SDPBackend.FLASH_ATTENTION, position_attention_split_sdpa),
    "split sdpa cudnn": by(SDPBackend.CUDNN_ATTENTION, position_attention_split_sdpa),
    "split sdpa efficient": by(SDPBackend.EFFICIENT_ATTENTION, position_attention_split_sdpa),
}
OPS = {
    "conv2d": Op((MAP, KERNEL), MAP, {"": _conv2d}),
    "linear": Op((AS_IS, (1, 0), AS_IS), AS_IS, {"": _linear}, ("contiguous",)),
    "batch_norm_relu": Op((MAP, AS_IS, AS_IS, MAP), MAP, {"": _batch_norm_relu}, float_vectors=True),
    "max_pool2d": Op((MAP,), MAP, {"": _max_pool2d}),
    "resize_bilinear": Op((MAP,), MAP, {"": _resize_bilinear}),
    "softmax_cross_entropy": Op((MAP, AS_IS), AS_IS, {"": _softmax_cross_entropy}),
    "position_attention": Op((AS_IS, AS_IS, AS_IS), AS_IS, POSITION_ATTENTIONS, ("contiguous",)),
    "channel_attention": Op((TRANSPOSED,), TRANSPOSED, {"": _channel_attention}),
    "scale_fusion": Op((SCORES, MAP), MAP, {"": _scale_fusion}),
}


def _tensor(
    array: np.ndarray, axes: tuple[int, ...] | None, *, layout: str, device: str, dtype: torch.dtype | None, op: Op
) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array) if array.ndim else array).to(device)
    if not tensor.is_floating_point():
        tensor = tensor.long()  # labels
    elif dtype is not None and array.ndim and not (op.float_vectors and array.ndim == 1):
        tensor = tensor.to(dtype)
    if axes is not None:
        tensor = tensor.permute(axes)
    return tensor.contiguous() if layout == "contiguous" else tensor


def _array(tensor: Tensor, axes: tuple[int, ...] | None) -> np.ndarray:
    array = to_numpy(tensor)
    return array if axes is None else array.transpose(np.argsort(axes))


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The values of ``tensor`` in its dtype, on the host."""
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        from ml_dtypes import bfloat16

        return tensor.view(torch.int16).numpy().view(bfloat16)
    return tensor.numpy()
