"""Each op as an operator of ONNX, alone, against the reference."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference.ops as oracle
from backends.contract import Ops
from segattn_cli.exporting.graph import Value
from segattn_cli.exporting.onnx_model import OPSETS, protos
from segattn_cli.exporting.onnx_ops import OnnxOps
from segattn_cli.exporting.traced import Parameter, TracedArray

onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install '.[onnx]'")

#: What only training calls, and what there can be no traced form of.
ABSENT = {
    "dropout", "global_mean_pool", "softmax_cross_entropy", "softmax_focal", "softmax_dice", "lovasz_softmax",
    "hard_pixels", "label_map", "sum_of_squares", "sgd_update", "adamw_update", "move_towards", "to_numpy",
    "synchronize", "constants", "resize_bilinear_rows",
}  # fmt: skip
MAPS, TOKENS, STACKED = (2, 9, 7, 5), (2, 11, 5), (3, 2, 4, 5, 6)
NORM = [(5,), (5,), (5,), (5,)]

#: Op, shapes of its traced arrays, shapes of its parameters, options.
CASES = [
    ("conv2d", [MAPS], [(3, 3, 5, 4), (4,)], {"padding": 1}),
    ("conv2d", [MAPS], [(3, 3, 5, 4)], {"stride": 2, "padding": 1}),
    ("conv2d", [MAPS], [(3, 3, 5, 4), (4,)], {"padding": 12, "dilation": 12}),
    ("conv2d", [MAPS], [(7, 5, 5, 3), (3,)], {"stride": 2, "padding": 3}),
    ("conv2d_relu", [MAPS], [(3, 3, 5, 4), (4,)], {"padding": 2, "dilation": 2}),
    ("batch_norm", [MAPS], NORM, {"training": False, "eps": 1e-2}),
    ("batch_norm_relu", [MAPS], NORM, {"training": False}),
    ("relu", [MAPS], [], {}),
    ("max_pool2d", [MAPS], [], {"window": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", [MAPS], [], {"window": 3, "stride": 1, "padding": 1}),
    ("max_pool2d", [MAPS], [], {"window": 2, "stride": 2}),
    ("linear", [MAPS], [(5, 4), (4,)], {}),
    ("linear", [TOKENS], [(5, 4)], {}),
    ("softmax", [MAPS], [], {}),
    ("softmax", [TOKENS], [], {}),
    ("position_attention", [(2, 11, 3), (2, 11, 3), TOKENS], [], {}),
    ("channel_attention", [TOKENS], [], {"form": "released"}),
    ("channel_attention", [TOKENS], [], {"form": "paper"}),
    ("gated_residual", [TOKENS, TOKENS], [()], {}),
    ("scale_fusion", [STACKED, (2, 4, 5, 3)], [], {}),
    ("scale_max", [STACKED], [], {}),
    ("scale_mean", [STACKED], [], {}),
]
SIZES = [(9, 7), (18, 15), (5, 3), (1, 1), (1, 12), (23, 1)]


def model_of(output: TracedArray, *inputs: TracedArray, opset: int = 17) -> Any:
    """A checked model of one output; every axis but the channels is free."""
    output.value.name = "y"
    nodes, constants = protos([output.value])
    graph = onnx.helper.make_graph(nodes, "op", [*map(described, inputs)], [described(output)], constants)
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(
        graph, opset_imports=opsets, ir_version=onnx.helper.find_min_ir_version_for(opsets)
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def described(array: TracedArray) -> Any:
    name = array.value.name
    shape = [f"{name}{axis}" for axis in range(array.ndim)]
    shape[array.channel_axis] = array.channels
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 2 if x.ndim == 5 else 1))


def agree(
    run: Any, op: Callable[..., Any], wanted: np.ndarray, arrays: list[np.ndarray], *, opset: int = 17
) -> None:
    """``op`` of traced arrays, run on ``arrays``, gives ``wanted``."""
    traced = [TracedArray(Value(f"x{n}"), array.ndim, array.shape[-1]) for n, array in enumerate(arrays)]
    output = op(OnnxOps(opset), *traced)
    model = model_of(output, *traced, opset=opset)
    got = run(model, {f"x{n}": channels_first(array) for n, array in enumerate(arrays)})["y"]
    assert output.channels == wanted.shape[-1]
    assert output.ndim == wanted.ndim
    np.testing.assert_allclose(got, channels_first(wanted), rtol=1e-5, atol=1e-5)


def test_the_ops_are_those_of_the_contract() -> None:
    forward = {
        name: function
        for name, function in vars(Ops).items()
        if inspect.isfunction(function) and not name.startswith("_") and not name.endswith("_backward")
    }
    assert {name for name in forward if not hasattr(OnnxOps, name)} == ABSENT
    for name in forward.keys() - ABSENT:
        wanted, got = inspect.signature(forward[name]), inspect.signature(getattr(OnnxOps, name))
        assert [(each.name, each.kind, each.default) for each in got.parameters.values()] == [
            (each.name, each.kind, each.default) for each in wanted.parameters.values()
        ], name


@pytest.mark.parametrize(
    ("op", "shapes", "parameters", "options"), CASES, ids=[f"{each[0]}-{n}" for n, each in enumerate(CASES)]
)
def test_an_op_alone(
    run: Any, rng: np.random.Generator, op: str, shapes: list, parameters: list, options: dict
) -> None:
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    params = [(0.5 + rng.random(shape)).astype(np.float32) for shape in parameters]
    wanted, _ = getattr(oracle, op)(*arrays, *params, **options)

    def traced(ops: OnnxOps, *inputs: TracedArray) -> TracedArray:
        named = [Parameter(f"parameter{n}", param) for n, param in enumerate(params)]
        return getattr(ops, op)(*inputs, *named, **options)[0]

    agree(run, traced, wanted, arrays)


@pytest.mark.parametrize("op", ["conv2d_relu", "batch_norm_relu"])
def test_a_residual_is_added_before_the_relu(run: Any, rng: np.random.Generator, op: str) -> None:
    x, residual = (rng.standard_normal(MAPS).astype(np.float32) for _ in range(2))
    shapes, options = {
        "conv2d_relu": ([(3, 3, 5, 5), (5,)], {"padding": 1}),
        "batch_norm_relu": (NORM, {"training": False}),
    }[op]
    params = [rng.random(shape).astype(np.float32) for shape in shapes]
    wanted, _ = getattr(oracle, op)(x, *params, residual, **options)

    def traced(ops: OnnxOps, x: TracedArray, residual: TracedArray) -> TracedArray:
        named = [Parameter(f"parameter{n}", param) for n, param in enumerate(params)]
        return getattr(ops, op)(x, *named, residual, **options)[0]

    agree(run, traced, wanted, [x, residual])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [MAPS, (1, 1, 1, 2), (1, 1, 8, 2), (1, 6, 1, 2)])
def test_resizing(
    run: Any, rng: np.random.Generator, shape: tuple, size: tuple[int, int], align_corners: bool
) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    wanted, _ = oracle.resize_bilinear(x, size, align_corners=align_corners)
    agree(run, lambda ops, x: ops.resize_bilinear(x, size, align_corners=align_corners)[0], wanted, [x])


def test_joining_and_stacking(run: Any, rng: np.random.Generator) -> None:
    narrow, wide, other = (rng.standard_normal((2, 4, 5, c)).astype(np.float32) for c in (3, 6, 3))
    agree(run, lambda ops, a, b: ops.concatenate([a, b]), oracle.concatenate([narrow, wide]), [narrow, wide])
    agree(run, lambda ops, a, b: ops.stack([a, b]), oracle.stack([narrow, other]), [narrow, other])


def test_from_maps_to_tokens_and_back(run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(MAPS).astype(np.float32)
    tokens = x.reshape(2, -1, 5)
    agree(run, lambda ops, x: x.reshape(x.shape[0], -1, x.shape[-1]), tokens, [x])
    agree(run, lambda ops, x: x.reshape(x.shape[0], -1, x.shape[-1]).reshape(x.shape), x, [x])
    agree(run, lambda ops, x, y: y.reshape(x.shape), x, [x, tokens])


@pytest.mark.parametrize("shape", [(-1, 4), (2, -1), (3, 2, -1, 2, 5)])
def test_other_reshapes_are_refused(shape: tuple[int, ...]) -> None:
    x = TracedArray(Value("x"), 4, 5)
    with pytest.raises(TypeError, match="Only pixels"):
        x.reshape(shape)


@pytest.mark.parametrize("scale", [0.5, 0.75, 0.3, 1.25, 2.5])
def test_sizes_round_as_python_rounds(run: Any, scale: float) -> None:
    """Halves to the even side, in float64: with float32 or halves rounded up, some of these would differ."""

    def resized(ops: OnnxOps, x: TracedArray) -> TracedArray:
        height, width = (round(pixels * scale) for pixels in x.shape[1:3])
        return ops.resize_bilinear(x, (height, width))[0]

    traced = TracedArray(Value("x"), 4, 1)
    model = model_of(resized(OnnxOps(17), traced), traced)
    for pixels in (2, 3, 5, 6, 7, 9, 10, 14, 25, 1001, 1013):
        got = run(model, {"x": np.zeros((1, 1, pixels, 2), np.float32)})["y"]
        assert got.shape == (1, 1, round(pixels * scale), round(2 * scale))


def test_parameters_are_stored_once_for_all_that_use_them() -> None:
    ops, weight = OnnxOps(17), Parameter("weight", np.ones((3, 3, 2, 2), np.float32))
    x = TracedArray(Value("x"), 4, 2)
    y, _ = ops.conv2d(x, weight, padding=1)
    z, _ = ops.conv2d(y, weight, padding=1)
    z.value.name = "z"
    _, constants = protos([z.value])
    assert [each.name for each in constants] == ["weight"]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("op", ["scale_max", "scale_mean", "scale_fusion", "softmax", "resize_bilinear"])
def test_every_opset(onnxruntime: Any, rng: np.random.Generator, op: str, opset: int) -> None:
    """The operators that changed since the first of them."""
    shapes, options = {
        "scale_fusion": ([STACKED, (2, 4, 5, 3)], ()),
        "softmax": ([MAPS], ()),
        "resize_bilinear": ([MAPS], ((5, 4),)),
    }.get(op, ([STACKED], ()))
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    wanted, _ = getattr(oracle, op)(*arrays, *options)
    agree(onnxruntime, lambda ops, *xs: getattr(ops, op)(*xs, *options)[0], wanted, arrays, opset=opset)
