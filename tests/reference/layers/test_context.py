"""Caches are saved and taken back by name."""

from __future__ import annotations

import numpy as np
import pytest

from reference import ops
from reference.layers import Context
from reference.layers.linear import Linear
from reference.networks import NetworkConfig, Objective, build_network


def context(**options):
    return Context(ops, {}, save_for_backward=True, **options)


def test_a_scope_stands_before_every_name_and_ends_with_an_error():
    seen, params = [], {"a.weight": np.eye(2), "a.bias": np.zeros(2)}
    ctx = Context(ops, params, save_for_backward=True, observe=lambda name, array: seen.append(name))
    layer = Linear("a", 2, 2)
    with ctx.scoped("scale 2"), ctx.scoped("left"):
        y = layer.forward(np.ones((1, 2)), ctx)
    with pytest.raises(RuntimeError, match="of a where that of scale 2/left/a was"), ctx.scoped(""):
        layer.backward(y, ctx)
    assert ctx.scope == ""
    with ctx.scoped("scale 2"), ctx.scoped("left"):
        layer.backward(y, ctx)
    assert seen == ["scale 2/left/a", "d scale 2/left/a.weight", "d scale 2/left/a.bias"]
    assert set(ctx.gradients) == set(params)  # scales share their parameters


def test_what_nobody_saved_cannot_be_taken_back():
    ctx = context()
    with pytest.raises(RuntimeError, match="to the cache of conv1, but none is left"):
        ctx.saved("conv1")
    inference = Context(ops, {})
    assert inference.save("conv1", (1.0, "cache")) == 1.0
    with pytest.raises(RuntimeError, match="the forward pass ran without save_for_backward"):
        inference.saved("conv1")


def test_what_is_left_is_named():
    ctx = context()
    ctx.require_nothing_saved()
    with ctx.scoped("scale 1"):
        ctx.save("conv1", (1.0, "cache"))
    with pytest.raises(RuntimeError, match="ended where the cache of scale 1/conv1 was saved last"):
        ctx.require_nothing_saved()


def test_a_folded_network_has_no_backward_pass():
    network = build_network(NetworkConfig(classes=3, head="fcn"))
    params = network.fold(network.initialise(0))
    images, labels = np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 8, 8), np.int32)
    with pytest.raises(ValueError, match=r"^backbone.bn1 is folded into backbone.conv1 for inference"):
        Objective(network).forward(images, labels, Context(ops, params, save_for_backward=True))
    ctx = Context(ops, params)
    Objective(network).forward(images, labels, ctx)
    with pytest.raises(RuntimeError, match="without save_for_backward"):
        Objective(network).backward(ctx)
