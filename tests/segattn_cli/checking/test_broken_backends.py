"""Backends that are broken on purpose: the cross-check catches each, and names the tensor that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference.ops as ops
from segattn_cli.checking import CheckResult
from segattn_cli.checking.lockstep import LockStep
from segattn_cli.checking.network_checks import NETWORKS, check_network
from segattn_cli.checking.op_checks import check_op

Broken = Callable[..., Any]


def flipped_dkey(dy: Any, cache: Any) -> Any:
    dquery, dkey, dvalue = ops.position_attention_backward(dy, cache)
    return dquery, -dkey, dvalue


def columns_are_queries(query: Any, key: Any, value: Any) -> Any:
    energy = query @ key.mT
    attention = np.exp(energy - energy.max(axis=1, keepdims=True))
    attention /= attention.sum(axis=1, keepdims=True)
    return attention @ value, ops.position_attention(query, key, value)[1]


def void_is_class_0(logits: Any, labels: Any, *, ignore_label: int = 255, class_weights: Any = None) -> Any:
    counted = np.where(labels == ignore_label, 0, labels)
    return ops.softmax_cross_entropy(logits, counted, class_weights=class_weights)


def dilation_off_by_one(x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    dilation, padding = options.get("dilation", 1), options.get("padding", 0)
    if dilation == 1:
        return ops.conv2d(x, weight, bias, **options)
    wrong = {"dilation": dilation - 1, "padding": padding - 1}
    return ops.conv2d(x, weight, bias, **options | wrong)[0], ops.conv2d(x, weight, bias, **options)[1]


def no_dbias(dy: Any, cache: Any, *, needs_dx: bool = True) -> Any:
    return (*ops.conv2d_backward(dy, cache, needs_dx=needs_dx)[:2], None)


def no_dbias_behind_the_relu(dy: Any, cache: Any, *, needs_dx: bool = True) -> Any:
    dx, dweight, _, dresidual = ops.conv2d_relu_backward(dy, cache, needs_dx=needs_dx)
    return dx, dweight, None, dresidual


def relu_in_place(x: Any) -> Any:
    y, cache = ops.relu(x)
    x[...] = y
    return y, cache


def relu_backward_in_place(dy: Any, cache: Any) -> Any:
    dx = ops.relu_backward(dy, cache)
    dy[...] = dx
    return dx


def unbiased_variance(x: Any, *norm: Any, training: bool, eps: float = 1e-5) -> Any:
    y, cache = ops.batch_norm(x, *norm, training=training, eps=eps)
    pixels = max(x.size // x.shape[-1], 2)
    return y, cache._replace(variance=cache.variance * pixels / (pixels - 1))


def always_float64(x: Any, weight: Any, bias: Any = None) -> Any:
    y, cache = ops.linear(x, weight, bias)
    return y.astype(np.float64), cache


def always_float32(x: Any) -> Any:
    y, cache = ops.relu(x)
    return y.astype(np.float32).astype(x.dtype), cache


def slightly_off(x: Any, weight: Any, bias: Any = None) -> Any:
    y, cache = ops.linear(x, weight, bias)
    return y * y.dtype.type(1 + 3e-5), cache


def form_is_ignored(x: Any, *, form: str = "released") -> Any:
    return ops.channel_attention(x)


def corners_are_ignored(x: Any, size: Any, *, align_corners: bool = False) -> Any:
    return ops.resize_bilinear(x, size)


def raises(x: Any) -> Any:
    raise RuntimeError("out of luck")


def failures(results: Any) -> list[CheckResult]:
    return [result for result in results if not result.passed]


FAULTS = [
    # the op, what is replaced, the dtype in which it shows, direction, tensor, words of the reason
    ("position_attention", {"position_attention_backward": flipped_dkey}, "float32", "backward", "dkey", "off by"),
    ("position_attention", {"position_attention": columns_are_queries}, "float32", "forward", "y", "off by"),
    ("softmax_cross_entropy", {"softmax_cross_entropy": void_is_class_0}, "float32", "forward", "y", "off by"),
    ("conv2d", {"conv2d": dilation_off_by_one}, "float32", "forward", "y", "off by"),
    ("conv2d", {"conv2d_backward": no_dbias}, "float32", "backward", "dbias", "missing"),
    ("relu", {"relu": relu_in_place}, "float32", "forward", "x", "input, which the op changed"),
    ("relu", {"relu_backward": relu_backward_in_place}, "float32", "backward", "dy", "input, which the op changed"),
    ("batch_norm", {"batch_norm": unbiased_variance}, "float32", "forward", "variance", "off by"),
    ("linear", {"linear": always_float64}, "float32", "forward", "y", "dtype float64"),
    ("linear", {"linear": slightly_off}, "float32", "forward", "y", "off by"),
    ("relu", {"relu": always_float32}, "float64", "forward", "y", "off by"),
    ("channel_attention", {"channel_attention": form_is_ignored}, "float64", "forward", "y", "off by"),
    ("resize_bilinear", {"resize_bilinear": corners_are_ignored}, "float32", "forward", "y", "off by"),
    ("relu", {"relu": raises}, "float32", "forward", "y", "raised RuntimeError: out of luck"),
    ("relu", {"relu": None}, "float32", "forward", "y", "raised TypeError"),
]


@pytest.mark.parametrize(("op", "fault", "dtype", "direction", "tensor", "reason"), FAULTS)
def test_a_broken_op_is_caught(
    broken: Broken, op: str, fault: dict, dtype: str, direction: str, tensor: str, reason: str
) -> None:
    found = failures(check_op(broken(**fault), op, dtype))
    assert found
    first = next(result for result in found if result.direction == direction)
    assert (first.subject, first.dtype, first.first_divergence) == (op, dtype, tensor)
    assert reason in first.reason


def test_a_tie_that_goes_to_another_pixel_is_caught_where_there_are_ties(broken: Broken) -> None:
    def last_wins(x: Any, **options: Any) -> Any:
        rising = x + 1e-9 * np.arange(x.size).reshape(x.shape)
        return ops.max_pool2d(x, **options)[0], ops.max_pool2d(rising, **options)[1]

    found = failures(check_op(broken(max_pool2d=last_wins), "max_pool2d", "float64"))
    assert {result.case for result in found} == {"ties", "all equal"}
    assert {result.first_divergence for result in found} == {"dx"}


def test_what_stays_within_the_tolerance_passes(broken: Broken) -> None:
    def rounded(x: Any, weight: Any, bias: Any = None) -> Any:
        y, cache = ops.linear(x, weight, bias)
        return y * y.dtype.type(1 + 2e-6), cache

    assert not failures(check_op(broken(linear=rounded), "linear", "float32"))
    assert failures(check_op(broken(linear=rounded), "linear", "float64"))


NETWORK_FAULTS = [
    # network, what is replaced, direction, the tensor in lock step, and end to end
    (
        "tiny-dual-attention", {"position_attention_backward": flipped_dkey}, "backward",
        "dkey of scale 1/head.position.attended", "d scale 1/head.position.key.weight",
    ),
    (
        "tiny-dual-attention", {"position_attention": columns_are_queries}, "forward",
        "scale 0.5/head.position.attended", "scale 0.5/head.position.attended",
    ),
    ("tiny-fcn", {"softmax_cross_entropy": void_is_class_0}, "forward", "main.cross_entropy", "main.cross_entropy"),
    ("tiny-fcn", {"conv2d": dilation_off_by_one}, "forward", "backbone.conv5", "backbone.conv5"),
    ("tiny-fcn", {"linear": slightly_off}, "forward", "head.classifier", "head.classifier"),
    ("tiny-fcn", {"max_pool2d": None, "linear": None}, "forward", "head.classifier", "head.classifier"),
    (
        "tiny-largefov-attention", {"conv2d_relu_backward": no_dbias_behind_the_relu}, "backward",
        "d scale_attention.conv1.bias", "d scale_attention.conv1.bias",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("network", "fault", "direction", "in_lock_step", "end_to_end"), NETWORK_FAULTS)
def test_a_broken_op_is_named_in_a_network(
    broken: Broken, network: str, fault: dict, direction: str, in_lock_step: str, end_to_end: str
) -> None:
    found = failures(check_network(broken(**fault), network, NETWORKS[network], "float64"))
    named = {(result.case, result.direction): result.first_divergence for result in found}
    assert named["training, lock step", direction] == in_lock_step
    assert named["training, end to end", direction] == end_to_end


def test_an_error_far_below_what_depth_makes_of_rounding_is_named_in_float32(broken: Broken) -> None:
    found = failures(check_network(broken(linear=slightly_off), "tiny-fcn", NETWORKS["tiny-fcn"], "float32"))
    assert {result.first_divergence for result in found} >= {"head.classifier"}


def test_lock_step_tells_one_fault_from_what_follows_it(broken: Broken) -> None:
    fault = broken(position_attention=columns_are_queries)
    network = NETWORKS["tiny-position-max"]
    cases = {result.case for result in failures(check_network(fault, "x", network, "float64"))}
    assert cases == {"training, lock step", "inference, lock step", "training, end to end"}
    directions = {
        result.direction for result in failures(check_network(fault, "x", network, "float64"))
        if "lock step" in result.case
    }  # fmt: skip
    assert directions == {"forward"}  # its cache is the right one, so backward has no fault of its own


def test_an_output_that_is_overwritten_later_is_caught(broken: Broken) -> None:
    buffers: dict[Any, Any] = {}

    def rectify_into_a_buffer(x: Any, *args: Any, **options: Any) -> Any:
        y, cache = ops.conv2d_relu(x, *args, **options)
        buffer = buffers.setdefault((y.shape, y.dtype), np.empty_like(y))
        buffer[...] = y
        return buffer, cache

    network = NETWORKS["tiny-largefov-attention"]
    found = failures(check_network(broken(conv2d_relu=rectify_into_a_buffer), "x", network, "float32"))
    lock_step = next(result for result in found if result.case == "training, lock step")
    assert "overwritten" in lock_step.reason


def test_a_backend_that_only_rounds_differently_passes(broken: Broken) -> None:
    """Noise of a few units in the last place on everything, also between a batch norm and its ReLU."""
    rng = np.random.default_rng(0)

    def noise(x: Any) -> Any:
        largest = np.abs(x).max()
        return x + (4e-7 * largest * rng.uniform(-1, 1, x.shape)).astype(x.dtype)

    def noisy(op: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            y, cache = op(*args, **options)
            return noise(y), cache

        return call

    def noisy_norm_relu(x: Any, s: Any, t: Any, m: Any, v: Any, residual: Any = None, **options: Any) -> Any:
        normed, _ = ops.batch_norm(x, s, t, m, v, **options)
        y, relu_cache = ops.relu(noise(normed if residual is None else normed + residual))
        whole = ops.batch_norm_relu(x, s, t, m, v, residual, **options)[1]
        return y, whole._replace(relu=relu_cache)

    rough = broken(
        **{name: noisy(getattr(ops, name)) for name in ("conv2d", "linear", "softmax", "resize_bilinear")},
        batch_norm_relu=noisy_norm_relu,
    )
    for name in ("tiny-fcn", "tiny-dual-attention"):
        assert not failures(check_network(rough, name, NETWORKS[name], "float32"))


def test_on_the_kink_of_a_relu_either_gradient_is_right(broken: Broken) -> None:
    """A residual that cancels the norm leaves rounding, whose sign float32 and float64 do not agree on."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 1, 6, 7, 4)).astype(np.float32)
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    residual = -ops.batch_norm(x, one, zero, zero, one, training=True)[0]
    residual[0, 0] += 1  # here the gradient is clear
    step = LockStep(broken(), "float32", conditioning=False)
    _, cache = step.batch_norm_relu(x, one, zero, zero, one, residual, training=True)
    step.batch_norm_relu_backward(dy, cache)
    assert [tensor.name for tensor in step.finish() if not tensor.comparison.passed] == []
    dresidual = step.tensors[-1].value
    np.testing.assert_array_equal(dresidual[0, 0], dy[0, 0])
    assert not dresidual[0, 1:].any()
