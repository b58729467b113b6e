"""The counting backend has the contract's ops, and the shapes and the arithmetic of the real ones."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from backends.contract import Ops
from reference.layers import Context
from reference.networks import Objective, build_network
from segattn_cli.checking.network_checks import NETWORKS
from segattn_cli.costs.counting_ops import CountingOps
from segattn_cli.costs.shape_array import CostMeter, ShapeArray

NAMES = sorted(name for name in vars(Ops) if not name.startswith("_"))


def parameters(function: Any) -> list[Any]:
    signature = inspect.signature(function)
    return [(each.name, each.kind, each.default) for each in signature.parameters.values() if each.name != "self"]


@pytest.mark.parametrize("op", NAMES)
def test_the_signatures_are_those_of_the_contract(op: str) -> None:
    assert parameters(getattr(CountingOps, op)) == parameters(getattr(Ops, op))


def shapes(*shape: int) -> ShapeArray:
    return ShapeArray(shape, np.float32, CostMeter())


@pytest.mark.parametrize(
    ("op", "inputs", "options", "forward", "backward"),
    [
        ("conv2d", [(2, 9, 9, 3), (3, 3, 3, 5), (5,)], {"padding": 1}, 2 * 81 * 5 * 27, 2 * 2 * 81 * 5 * 27),
        ("conv2d", [(1, 9, 9, 3), (3, 3, 3, 5)], {"stride": 2, "padding": 1}, 25 * 5 * 27, 2 * 25 * 5 * 27),
        ("conv2d_relu", [(1, 9, 9, 3), (1, 1, 3, 5), (5,)], {}, 81 * 15, 2 * 81 * 15),
        ("linear", [(2, 7, 3), (3, 5)], {}, 14 * 15, 2 * 14 * 15),
        ("position_attention", [(2, 7, 3), (2, 7, 3), (2, 7, 5)], {}, 2 * 49 * 8, 2 * 49 * (9 + 10)),
        ("channel_attention", [(2, 7, 3)], {}, 2 * 7 * 9 * 2, 2 * 7 * 9 * 3),
        ("relu", [(2, 7, 3)], {}, 0, 0),
    ],
)
def test_multiply_adds_by_hand(op: str, inputs: list, options: dict, forward: int, backward: int) -> None:
    meter = CostMeter()
    ops = CountingOps(meter)
    y, cache = getattr(ops, op)(*[shapes(*shape) for shape in inputs], **options)
    assert (meter.forward, meter.backward) == (forward, 0)
    getattr(ops, f"{op}_backward")(y, cache)
    assert (meter.forward, meter.backward) == (forward, backward)


@pytest.mark.parametrize("op", ["conv2d", "conv2d_relu"])
def test_a_gradient_that_nobody_needs_costs_nothing(op: str) -> None:
    meter = CostMeter()
    ops = CountingOps(meter)
    y, cache = getattr(ops, op)(shapes(1, 9, 9, 3), shapes(3, 3, 3, 5), padding=1)
    dx, *_ = getattr(ops, f"{op}_backward")(y, cache, needs_dx=False)
    assert dx is None
    assert meter.backward == meter.forward == 81 * 5 * 27


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_a_real_pass(name: str) -> None:
    """Forward and backward: every observed tensor, every mask, every gradient and every batch statistic."""
    network = build_network(NETWORKS[name])
    params = network.initialise(0)
    images, labels = np.zeros((2, 37, 50, 3), np.float32), np.zeros((2, 37, 50), np.int32)

    def passed(ops: Any, params: Any, images: Any, labels: Any) -> tuple[list[Any], Context]:
        seen: list[Any] = []

        def draw(name: str, shape: tuple[int, ...], rate: float) -> Any:
            seen.append((name, shape, rate))
            return ops.asarray(np.ones(shape, bool))

        ctx = Context(
            ops, params, save_for_backward=True, batch_statistics=True, draw_mask=draw,
            observe=lambda name, x: seen.append((name, x.shape, x.dtype)),
        )
        objective = Objective(network)
        objective.forward(images, labels, ctx)
        objective.backward(ctx)
        return seen, ctx

    ops = CountingOps(CostMeter())
    counted, ctx = passed(
        ops, {name: ops.asarray(value) for name, value in params.items()}, ops.asarray(images), ops.asarray(labels)
    )
    seen, wanted = passed(get_backend("numpy"), params, images, labels)
    assert counted == seen
    assert {name: x.shape for name, x in ctx.gradients.items()} == {
        name: x.shape for name, x in wanted.gradients.items()
    }
    assert {name: (x.mean.shape, x.count) for name, x in ctx.statistics.items()} == {
        name: (x.mean.shape, x.count) for name, x in wanted.statistics.items()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pass_leaves_nothing_behind(name: str) -> None:
    network = build_network(NETWORKS[name])
    meter, weights = CostMeter(), CostMeter()
    params = {name: ShapeArray(shape, np.float32, weights) for name, shape in network.shapes().items()}
    ctx = Context(CountingOps(meter), params, save_for_backward=True, batch_statistics=True)
    images, labels = ShapeArray((1, 37, 50, 3), np.float32, meter), ShapeArray((1, 37, 50), np.int32, meter)
    objective = Objective(network)
    objective.forward(images, labels, ctx)
    gradients = objective.backward(ctx)
    ctx.statistics.clear()
    assert meter.alive == images.nbytes + labels.nbytes + sum(gradient.nbytes for gradient in gradients.values())


def test_arrays_come_and_go() -> None:
    ops = CountingOps(CostMeter())
    x = ops.asarray(np.zeros((2, 3), np.int32))
    assert (x.shape, x.dtype) == ((2, 3), np.int32)
    assert ops.asarray(x) is x
    assert ops.asarray([1.0, 2.0], np.float32).dtype == np.float32
    assert ops.to_numpy(x).shape == (2, 3)
    ops.synchronize()
