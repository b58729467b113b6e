"""The suites of single ops, ``ops`` and ``attention``, and a GPU's attention: shapes and our implementation."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import reference.ops as oracle
from backends.contract import Ops
from backends.precision import array_dtype
from reference.networks import NetworkConfig
from segattn_cli.benchmarking.agreement import OP_ERRORS, ops_difference, ops_errors
from segattn_cli.benchmarking.benchmark import Benchmark, Shape, Variants, times
from segattn_cli.benchmarking.convolutions import ConvolutionCall, convolutions
from segattn_cli.checking.lockstep import GRADIENTS
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

#: The fraction of labels that are ignored.
IGNORED = 0.1
#: A ReLU's input that is nearer to 0 than this is moved away.
KINK = 1e-3
#: Where the convolutions come from.
NETWORK, IMAGES = NetworkConfig(classes=19, backbone="resnet50", head="dual"), (2, 240, 240)
#: Heights and widths of the maps on which the attentions are timed.
GRIDS = ((48, 48), (96, 96), (128, 256))
#: Pixels of the maps on which a GPU's position attention is timed.
PIXELS = (9216, 65_536)
SEPARATE, JOINT = ("forward", "backward"), ("forward", "forward+backward")


#: The inputs that were drawn last, by their call: large ones take seconds, and all implementations get the same.
_DRAWN: dict[str, tuple[list[np.ndarray], np.ndarray]] = {}


class RandomInput(NamedTuple):
    """One input: normal values of a standard deviation, or labels of so many classes."""

    shape: Shape
    deviation: float = 1.0
    classes: int = 0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if not self.classes:
            return rng.standard_normal(self.shape, np.float32) * np.float32(self.deviation)
        labels = rng.integers(self.classes, size=self.shape, dtype=np.int32)
        labels[rng.random(self.shape) < IGNORED] = 255
        return labels


class Call(NamedTuple):
    """One call of an op, whose inputs are drawn when they are needed."""

    op: str
    inputs: tuple[RandomInput, ...]
    options: Mapping[str, Any] = {}

    def draw(self) -> tuple[list[np.ndarray], np.ndarray]:
        """The inputs and the gradient of the output: the same ones for every implementation."""
        key = repr(self)
        if key not in _DRAWN:
            _DRAWN.clear()
            rng = np.random.default_rng(zlib.crc32(key.encode()))
            inputs = [each.draw(rng) for each in self.inputs]
            if self.op == "batch_norm_relu":
                inputs[3] = _off_the_kink(*inputs)
            shape = self.measure(CostMeter())
            dy = rng.standard_normal(shape, np.float32) if shape else np.ones((), np.float32)
            _DRAWN[key] = inputs, dy
        return _DRAWN[key]

    def operations(self, passes: Sequence[str] = SEPARATE) -> dict[str, int | None]:
        """The arithmetic of products by pass; None for an op that has none."""
        meter = CostMeter()
        self.measure(meter)
        forward, backward = 2 * meter.forward, 2 * meter.backward
        counts = {"forward": forward, "backward": backward, "forward+backward": forward + backward}
        return {each: counts[each] or None for each in passes}

    def measure(self, meter: CostMeter) -> Shape:
        inputs = [ShapeArray(each.shape, np.int32 if each.classes else np.float32, meter) for each in self.inputs]
        ops = CountingOps(meter)
        y, cache = _forward(ops, self.op, inputs, self.options)
        getattr(ops, f"{self.op}_backward")(y, cache)
        return y.shape


class BackendOp:
    """A call with the ops of a backend; with ``exact``, in float64 on the inputs of the precision."""

    def __init__(
        self, call: Call, passes: Sequence[str], ops: Ops, precision: str = "float32", *, exact: bool = False
    ) -> None:
        dtype = array_dtype(precision)

        def on_device(x: np.ndarray) -> Any:
            if x.dtype.kind == "f":
                x = x.astype(dtype) if x.ndim > 1 else x  # vectors and scalars stay float32
                x = x.astype(np.float64) if exact else x
            return ops.asarray(x)

        inputs, dy = call.draw()
        self.call, self.ops = call, ops
        self.inputs = [on_device(x) for x in inputs]
        self.dy = on_device(dy)
        self.y: Any = None
        self.cache: Any = None
        self.gradients: tuple[Any, ...] = ()
        own: dict[str, Callable[[], None]] = {
            "forward": self.forward, "backward": self.backward, "forward+backward": self.forward_and_backward,
        }  # fmt: skip
        self.passes = {each: own[each] for each in passes}

    def forward(self) -> None:
        self.y, self.cache, self.gradients = None, None, ()
        self.y, self.cache = _forward(self.ops, self.call.op, self.inputs, self.call.options)

    def backward(self) -> None:
        gradients = getattr(self.ops, f"{self.call.op}_backward")(self.dy, self.cache)
        self.gradients = gradients if isinstance(gradients, tuple) else (gradients,)

    def forward_and_backward(self) -> None:
        self.forward()
        self.backward()

    def results(self) -> list[np.ndarray]:
        """The output and, after a backward pass, the gradients of all inputs."""
        return [self.ops.to_numpy(x) for x in (self.y, *self.gradients) if x is not None]


def _off_the_kink(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """The residual, moved where the ReLU's input is almost 0: its sign would be a matter of rounding."""
    z, _ = oracle.batch_norm(x, scale, shift, shift, scale, training=True)
    z += residual
    return residual + np.where(np.abs(z) < KINK, np.copysign(np.float32(2 * KINK), z), np.float32(0))


def _forward(ops: Any, op: str, inputs: list[Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    if op == "batch_norm_relu":  # in training, where the mean and the variance are not read
        x, scale, shift, residual = inputs
        return ops.batch_norm_relu(x, scale, shift, shift, scale, residual, training=True)
    return getattr(ops, op)(*inputs, **options)


def ops_suite() -> list[Benchmark]:
    """The suite ``ops``: the convolutions of a network, and the other ops at shapes that networks have."""
    calls = [_convolution(each) for each in convolutions(NETWORK, *IMAGES)]
    for shape in ((2, 90, 120, 64), (2, 45, 60, 512), (2, 30, 30, 2048)):
        x, channels = RandomInput(shape), RandomInput(shape[-1:])
        calls.append((times(shape), Call("batch_norm_relu", (x, channels, channels, x))))
    for shape, size in (
        ((2, 45, 60, 11), (360, 480)), ((2, 23, 30, 512), (45, 60)), ((1, 128, 256, 19), (1024, 2048))
    ):  # fmt: skip
        text = f"{times(shape)} → {times(size)}"
        calls.append((text, Call("resize_bilinear", (RandomInput(shape),), {"size": size})))
    for classes in (11, 19):
        map_, labels = (2, 360, 480, classes), RandomInput((2, 360, 480), classes=classes)
        calls.append((times(map_), Call("softmax_cross_entropy", (RandomInput(map_), labels))))
    pool = {"window": 3, "stride": 2, "padding": 1}
    calls += [
        ("2×180×240×64", Call("max_pool2d", (RandomInput((2, 180, 240, 64)),), pool)),
        ("2×2700×512 → 64", Call("linear", tuple(map(RandomInput, ((2, 2700, 512), (512, 64), (64,)))))),
        _channel_attention(48 * 48),
        _scale_fusion((96, 96)),
    ]
    return [op_benchmark("ops", text, call) for text, call in calls]


def attention_suite() -> list[Benchmark]:
    """The suite ``attention``: the three attentions on maps of growing size."""
    benchmarks = []
    for grid in GRIDS:
        n = grid[0] * grid[1]
        matrix = 4 * n * n  # bytes
        needs = {"plain": 3 * matrix, "sdpa": 4 * matrix, "reference": 8 * matrix}
        small = partial(op_benchmark, "attention", *_position_attention(64))
        benchmark = op_benchmark("attention", *_position_attention(n))
        benchmarks.append(replace(benchmark, variant_bytes=needs, warm_up=small))
        benchmarks += [op_benchmark("attention", *each) for each in (_channel_attention(n), _scale_fusion(grid))]
    return benchmarks


def gpu_attention_suite() -> list[Benchmark]:
    """Of the suite ``gpu``: position attention, forward alone and with its backward pass."""
    small = partial(op_benchmark, "gpu", *_position_attention(64), JOINT)
    benchmarks = []
    for n in PIXELS:
        matrix = 4 * n * n  # bytes
        needs = {"plain": 4 * matrix, "sdpa math": 5 * matrix, "compiled": 4 * matrix}
        benchmark = op_benchmark("gpu", *_position_attention(n), JOINT)
        benchmarks.append(replace(benchmark, variant_bytes=needs, warm_up=small, device="cuda"))
    return benchmarks


def op_benchmark(suite: str, text: str, call: Call, passes: Sequence[str] = SEPARATE) -> Benchmark:
    names = ["y", *(name for name in GRADIENTS[call.op] if not (call.op == "conv2d" and name == "dbias"))]
    return Benchmark(
        suite, call.op, text, [passes] if passes == SEPARATE else [(each,) for each in passes],
        operations=partial(call.operations, passes),
        ours=partial(BackendOp, call, passes),
        torch=partial(_torch, call, passes),
        difference=partial(ops_difference, names),
        errors=partial(ops_errors, passes),
        tolerances=dict.fromkeys(passes, OP_ERRORS),
    )  # fmt: skip


def _torch(
    call: Call, passes: Sequence[str], *, device: str = "cpu", precision: str = "float32",
    compiled: bool | None = None,
) -> Variants:
    """PyTorch's variants, among them torch.compile on a GPU, where it can fuse an attention and is quick."""
    from segattn_cli.benchmarking.baselines.torch_ops import op_variants

    inputs, dy = call.draw()
    compiled = device == "cuda" and compiled is not False
    return op_variants(
        call.op, inputs, dy, call.options, passes, device=device, precision=precision, compiled=compiled
    )


def _convolution(each: ConvolutionCall) -> tuple[str, Call]:
    kernel, more = each.weight[:2], ""
    if each.stride > 1:
        more += f" stride {each.stride}"
    if each.dilation > 1:
        more += f" dilation {each.dilation}"
    fan_in = float(np.prod(each.weight[:3]))
    options = {"stride": each.stride, "padding": each.padding, "dilation": each.dilation}
    inputs = RandomInput(each.x), RandomInput(each.weight, fan_in**-0.5)
    return f"{times(each.x)} → {each.weight[3]}, {times(kernel)}{more}", Call("conv2d", inputs, options)


def _position_attention(n: int, inner: int = 64, channels: int = 512) -> tuple[str, Call]:
    tokens = RandomInput((1, n, inner), inner**-0.25)  # energies of deviation 1
    text = f"N={n} {inner}/{channels}"
    return text, Call("position_attention", (tokens, tokens, RandomInput((1, n, channels))))


def _channel_attention(n: int, channels: int = 512) -> tuple[str, Call]:
    x = RandomInput((1, n, channels), 2 * n**-0.5)  # energies up to 4
    return f"N={n} {channels}", Call("channel_attention", (x,))


def _scale_fusion(grid: tuple[int, int], scales: int = 2, classes: int = 19) -> tuple[str, Call]:
    scores, logits = RandomInput((scales, 1, *grid, classes)), RandomInput((1, *grid, scales))
    return f"N={grid[0] * grid[1]} {scales}×{classes}", Call("scale_fusion", (scores, logits))
