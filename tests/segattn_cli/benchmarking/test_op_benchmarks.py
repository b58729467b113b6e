"""The suites of ops: their shapes, their arithmetic, and that PyTorch computes what our implementation does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from backends import get_backend
from reference.networks import NetworkConfig
from segattn_cli.benchmarking.convolutions import ConvolutionCall, convolutions
from segattn_cli.benchmarking.op_benchmarks import (
    KINK,
    BackendOp,
    Call,
    RandomInput,
    _convolution,
    _position_attention,
    attention_suite,
    op_benchmark,
    ops_suite,
)
from segattn_cli.benchmarking.timing import run_once

MAP, CHANNELS = RandomInput((2, 9, 7, 6)), RandomInput((6,))
#: One small call of every op that is timed.
SMALL = {
    "conv2d": _convolution(ConvolutionCall((2, 9, 7, 5), (3, 3, 5, 6), 2, 2, 2))[1],
    "linear": Call("linear", (RandomInput((2, 11, 6)), RandomInput((6, 4)), RandomInput((4,)))),
    "batch_norm_relu": Call("batch_norm_relu", (MAP, CHANNELS, CHANNELS, MAP)),
    "max_pool2d": Call("max_pool2d", (MAP,), {"window": 3, "stride": 2, "padding": 1}),
    "resize_bilinear": Call("resize_bilinear", (MAP,), {"size": (13, 11)}),
    "softmax_cross_entropy": Call("softmax_cross_entropy", (MAP, RandomInput((2, 9, 7), classes=6))),
    "position_attention": _position_attention(30, 4, 8)[1],
    "channel_attention": Call("channel_attention", (RandomInput((2, 30, 8), 0.3),)),
    "scale_fusion": Call("scale_fusion", (RandomInput((2, 1, 5, 6, 4)), RandomInput((1, 5, 6, 2)))),
}


def test_convolutions_are_found_by_running_the_network() -> None:
    config = NetworkConfig(classes=5, backbone="resnet18", head="fcn")
    found = convolutions(config, 1, 64, 96)
    assert found[0] == ConvolutionCall((1, 64, 96, 3), (7, 7, 3, 64), 2, 3, 1)
    assert found[1] == ConvolutionCall((1, 16, 24, 64), (3, 3, 64, 64), 1, 1, 1)
    assert ConvolutionCall((1, 8, 12, 512), (3, 3, 512, 512), 1, 4, 4) in found  # layer4 at output stride 8
    assert ConvolutionCall((1, 16, 24, 64), (1, 1, 64, 128), 2, 0, 1) in found  # the projection of layer2
    assert len(set(found)) == len(found)


def test_the_suite_has_every_convolution_of_danet_and_every_op() -> None:
    cases = ops_suite()
    titles = [case.title for case in cases]
    assert len(set(titles)) == len(titles)
    assert "conv2d 2×240×240×3 → 64, 7×7 stride 2" in titles
    assert "conv2d 2×30×30×2048 → 512, 3×3" in titles  # the head
    assert {case.subject for case in cases} == set(SMALL) - {"position_attention"}
    assert {case.subject for case in attention_suite()} == {
        "position_attention", "channel_attention", "scale_fusion",
    }  # fmt: skip


def test_a_multiply_add_counts_as_two_operations() -> None:
    _, convolution = _convolution(ConvolutionCall((2, 8, 8, 3), (3, 3, 3, 5), 2, 1, 1))
    forward = 2 * (2 * 4 * 4) * 5 * (3 * 3 * 3)
    assert convolution.operations() == {"forward": forward, "backward": 2 * forward}
    linear = SMALL["linear"].operations()
    assert linear == {"forward": 2 * 22 * 6 * 4, "backward": 4 * 22 * 6 * 4}
    position = SMALL["position_attention"].operations()
    assert position == {"forward": 2 * 30 * 30 * (4 + 8), "backward": 2 * 30 * 30 * (3 * 4 + 2 * 8)}
    assert SMALL["max_pool2d"].operations() == {"forward": None, "backward": None}


def test_both_implementations_get_the_same_numbers() -> None:
    call = SMALL["softmax_cross_entropy"]
    (logits, labels), _ = call.draw()
    (again, labels_again), _ = call.draw()
    assert (logits == again).all()
    assert (labels == labels_again).all()
    assert 0 < (labels == 255).mean() < 0.5
    assert set(np.unique(labels)) <= {*range(6), 255}


def test_no_relu_stands_on_its_kink() -> None:
    map_ = RandomInput((2, 50, 50, 6))
    (x, scale, shift, residual), _ = Call("batch_norm_relu", (map_, CHANNELS, CHANNELS, map_)).draw()
    z = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) * scale + shift + residual
    assert np.abs(z).min() > KINK / 2


def test_a_case_can_be_sent_to_another_process() -> None:
    case = pickle.loads(pickle.dumps(ops_suite()[0]))
    assert case.title == ops_suite()[0].title


@pytest.mark.torch
@pytest.mark.parametrize("op", SMALL)
def test_every_way_of_pytorch_agrees_with_the_reference(op: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    case = op_benchmark("ops", "small", SMALL[op])
    ours = case.ours(get_backend("reference"))
    run_once(ours)
    variants = list(case.torch())
    assert len(variants) == (1 if op == "linear" else 3 if op == "position_attention" else 2)
    for name, make in variants:
        theirs = make()
        assert set(run_once(theirs)) == {"forward", "backward"}
        assert case.difference(ours.results(), theirs.results()) == "", name


@pytest.mark.parametrize("op", SMALL)
def test_a_wrong_gradient_is_found(op: str) -> None:
    case = op_benchmark("ops", "small", SMALL[op])
    implementation = BackendOp(SMALL[op], ("forward", "backward"), get_backend("reference"))
    run_once(implementation)
    right = implementation.results()
    assert case.difference(right, right) == ""
    for n, array in enumerate(right):
        wrong = [*right[:n], 1.01 * array, *right[n + 1 :]]
        assert "is off by 1.0e-02 of its largest value" in case.difference(wrong, right)
