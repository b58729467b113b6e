"""Costs from shapes, against counts by hand and against what a real pass takes."""

from __future__ import annotations

import gc
import inspect
import tracemalloc
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from backends.contract import Ops
from reference.layers import Context
from reference.networks import NetworkConfig, Objective, build_network
from segattn_cli.checking.networks import NETWORKS
from segattn_cli.cost import Meter, ShapeArray, ShapeOps, estimate


def shapes(*shape: int) -> ShapeArray:
    return ShapeArray(shape, np.float32, Meter())


@pytest.mark.parametrize(
    ("op", "inputs", "options", "forward", "backward"),
    [
        ("conv2d", [(2, 9, 9, 3), (3, 3, 3, 5), (5,)], {"padding": 1}, 2 * 81 * 5 * 27, 2 * 2 * 81 * 5 * 27),
        ("conv2d", [(1, 9, 9, 3), (3, 3, 3, 5)], {"stride": 2, "padding": 1}, 25 * 5 * 27, 2 * 25 * 5 * 27),
        ("linear", [(2, 7, 3), (3, 5)], {}, 14 * 15, 2 * 14 * 15),
        ("position_attention", [(2, 7, 3), (2, 7, 3), (2, 7, 5)], {}, 2 * 49 * 8, 2 * 49 * (9 + 10)),
        ("channel_attention", [(2, 7, 3)], {}, 2 * 7 * 9 * 2, 2 * 7 * 9 * 3),
        ("relu", [(2, 7, 3)], {}, 0, 0),
    ],
)
def test_multiply_adds_by_hand(op: str, inputs: list, options: dict, forward: int, backward: int) -> None:
    meter = Meter()
    getattr(ShapeOps(meter), op)(*[shapes(*shape) for shape in inputs], **options)
    assert (meter.forward, meter.backward) == (forward, backward)


def test_a_whole_network_by_hand() -> None:
    network = build_network(NetworkConfig(classes=5, head="fcn"))
    # five convolutions 3-16-32-64-64-128 and the head's 128-32 have 3×3 kernels and norms, the classifier a bias
    weights = [9 * a * b for a, b in [(3, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 32)]]
    norms = 2 * (16 + 32 + 64 + 64 + 128 + 32)
    pixels = [32 * 48, 16 * 24, 8 * 12, 8 * 12, 8 * 12, 8 * 12]  # of a 64×96 image, at stride 2, 4, 8, 8, 8, 8
    forward = sum(n * weight for n, weight in zip(pixels, weights, strict=True)) + 96 * 32 * 5
    inference = estimate(network, 1, 64, 96, training=False)
    assert inference.parameters == sum(weights) + norms + 32 * 5 + 5
    assert inference.multiply_adds == forward
    assert estimate(network, 2, 64, 96, training=True).multiply_adds == 3 * 2 * forward


def test_memory_is_counted_while_something_refers_to_it() -> None:
    meter = Meter()
    a = ShapeArray((100,), np.float32, meter)
    b = a + 1.0
    view = b.reshape(10, -1)
    assert (view.shape, meter.alive, meter.peak) == ((10, 10), 800, 800)
    del a, b
    assert meter.alive == 400  # the view holds on to it
    del view
    assert (meter.alive, meter.peak, meter.largest) == (0, 800, 400)


def test_the_ops_are_those_of_the_contract() -> None:
    for name, function in vars(Ops).items():
        if inspect.isfunction(function) and not name.startswith("_") and not name.endswith("_backward"):
            if name in ("to_numpy", "synchronize"):
                continue
            assert [*inspect.signature(getattr(ShapeOps, name)).parameters] == [
                *inspect.signature(function).parameters
            ], name


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_a_real_pass(name: str) -> None:
    network = build_network(NETWORKS[name])
    params = network.initialise(0)
    seen: list[Any] = []
    reference = get_backend("reference")
    images = np.zeros((1, 37, 50, 3), np.float32)
    ctx = Context(reference, params, observe=lambda name, x: seen.append((name, x.shape, x.dtype)))
    network.forward(images, ctx)
    meter = Meter()
    guessed: list[Any] = []
    network.forward(
        ShapeArray(images.shape, images.dtype, meter),
        Context(
            ShapeOps(meter),
            {name: ShapeArray(value.shape, value.dtype, meter) for name, value in params.items()},
            observe=lambda name, x: guessed.append((name, x.shape, x.dtype)),
        ),
    )
    assert guessed == seen


@pytest.mark.parametrize("name", ["tiny-fcn", "tiny-dual-attention", "resnet18-dual"])
def test_memory_is_about_what_a_real_pass_keeps(name: str) -> None:
    network = build_network(NETWORKS[name])
    params = network.initialise(0)
    rng = np.random.default_rng(0)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        images = np.zeros((2, 56, 72, 3), np.float32)
        labels = np.zeros((2, 56, 72), np.int32)
        ctx = Context(
            get_backend("reference"), params, keep_caches=True, batch_statistics=True,
            draw_mask=lambda name, shape, rate: rng.random(shape) > rate,
        )  # fmt: skip
        loss = Objective(network).forward(images, labels, ctx)
        kept = tracemalloc.get_traced_memory()[0] - before
        assert loss.total.shape == ()
    finally:
        tracemalloc.stop()
    cost = estimate(network, 2, 56, 72, training=True)
    assert 0.75 * kept < cost.activation_bytes < 1.25 * kept
    assert cost.peak_bytes > cost.activation_bytes + 12 * cost.parameters  # parameters, gradients, momentum


def test_inference_keeps_less_than_training() -> None:
    network = build_network(NETWORKS["tiny-dual-attention"])
    inference = estimate(network, 1, 96, 128, training=False)
    training = estimate(network, 1, 96, 128, training=True)
    assert inference.activation_bytes < training.activation_bytes / 2
    assert inference.peak_bytes < training.peak_bytes / 2
    assert inference.parameters == training.parameters
