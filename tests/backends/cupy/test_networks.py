"""Whole small networks: loss, gradients, a few steps of training, and twice the same bits."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import reference.ops
from backends.tolerances import TOLERANCES, compare
from reference.layers import Context
from reference.networks import NetworkConfig, Objective, build_network, is_trained

pytestmark = pytest.mark.gpu

SMALL = {"classes": 4, "head_channels": 8, "scale_attention_channels": 6}
NETWORKS = {
    "dual with scales": {
        "backbone": "tiny", "head": "dual", "scales": (1.0, 0.5), "fusion": "attention",
        "scale_classifier": "attached",
    },
    "paper's channel form, three scales": {
        "backbone": "tiny", "head": "dual", "channel_form": "paper", "scales": (1.0, 0.75, 0.5),
    },
    "max fusion": {"backbone": "tiny", "head": "position", "scales": (1.0, 0.5), "fusion": "max"},
    "mean fusion": {"backbone": "tiny", "head": "channel", "scales": (1.0, 0.5), "fusion": "mean"},
    "resnet18": {"backbone": "resnet18", "head": "dual"},
    "resnet50 multi-grid": {"backbone": "resnet50", "head": "fcn", "multi_grid": (4, 8, 16), "deep_stem": True},
    "vgg16": {"backbone": "vgg16", "head": "largefov"},
}


class Problem:
    """A network, its parameters with open gates, and a batch to be fitted, in ``dtype`` on any ops."""

    def __init__(self, name):
        self.network = build_network(NetworkConfig(**SMALL, **NETWORKS[name]))
        self.objective = Objective(self.network, class_weights=[1.0, 2.0, 0.5, 1.5])
        rng = np.random.default_rng(0)
        self.params = {}
        for key, value in self.network.initialise(0).items():
            noise = rng.uniform(0.1, 0.5, value.shape) if np.ptp(value) == 0 else 0.0
            self.params[key] = (value + noise).astype(np.float32)
        self.images = rng.normal(size=(2, 37, 42, 3)).astype(np.float32)
        self.labels = rng.integers(0, 4, (2, 37, 42)).astype(np.int32)
        self.labels[:, :3] = 255

    def run(self, ops, dtype):
        """The loss, its parts, all gradients and all batch statistics, by name, in NumPy."""
        params = {name: ops.asarray(value, dtype) for name, value in self.params.items()}
        return self.run_with(ops, params, dtype)

    def run_with(self, ops, params, dtype):
        def draw_mask(name, shape, rate):
            mask = np.random.default_rng(zlib.crc32(name.encode())).random(shape) >= rate
            return ops.asarray(mask)

        ctx = Context(ops, params, save_for_backward=True, batch_statistics=True, draw_mask=draw_mask)
        loss = self.objective.forward(ops.asarray(self.images, dtype), ops.asarray(self.labels), ctx)
        named = {"total": loss.total} | loss.parts
        named |= self.objective.backward(ctx)
        for norm, measured in ctx.statistics.items():
            named |= {f"{norm} mean": measured.mean, f"{norm} variance": measured.variance}
        return {name: ops.to_numpy(value) for name, value in named.items()}


def assert_agree(exact, got, dtype, plain=None):
    """All of ``got`` is what ``exact`` is.

    A gradient that is far smaller than the largest one is what is left of larger terms (the key's bias moves whole
    rows of energies: its gradient is zero but for rounding), so none is measured by less than a thousandth of that.
    """
    assert got.keys() == exact.keys()
    precision = TOLERANCES[dtype]
    largest = max(np.abs(value).max() for name, value in exact.items() if name.endswith((".weight", ".bias")))
    for name, value in exact.items():
        scale = np.abs(value).max() or 1.0
        floor = 1e-3 * largest / scale * precision.tolerance / precision.allowance
        error = 0.0 if plain is None else float(np.abs(plain[name] - value).max() / scale)
        result = compare(value, got[name], dtype, plain_error=max(floor, error))
        assert result.passed, f"{name} {result.reason}"


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradients(ops, poisoned, name):
    problem = Problem(name)
    assert_agree(problem.run(reference.ops, np.float64), problem.run(ops, np.float64), "float64")


@pytest.mark.parametrize("name", ["dual with scales", "resnet18"])
def test_loss_and_gradients_in_float32(ops, name):
    problem = Problem(name)
    exact, plain = (problem.run(reference.ops, dtype) for dtype in (np.float64, np.float32))
    assert_agree(exact, problem.run(ops, np.float32), "float32", plain)


def test_prediction_with_folded_norms(ops):
    problem = Problem("dual with scales")
    images = problem.images.astype(np.float64)
    params = {name: value.astype(np.float64) for name, value in problem.params.items()}
    exact, weights = problem.network.predict_with_weights(images, Context(reference.ops, params))
    folded = problem.network.fold({name: ops.asarray(value) for name, value in params.items()})
    got, got_weights = problem.network.predict_with_weights(ops.asarray(images), Context(ops, folded))
    assert compare(exact, ops.to_numpy(got), "float64").passed
    assert compare(weights, ops.to_numpy(got_weights), "float64").passed


def test_a_few_steps_of_training(ops):
    """Momentum SGD on both: the same losses, step by step, and they fall."""
    problem = Problem("dual with scales")
    losses = {}
    for each in (reference.ops, ops):
        params = {name: each.asarray(value, np.float64) for name, value in problem.params.items()}
        momentum = {name: value * 0.0 for name, value in params.items() if is_trained(name)}
        history = []
        for _ in range(4):
            out = problem.run_with(each, params, np.float64)
            history.append(float(out["total"]))
            for name in momentum:
                momentum[name] = 0.9 * momentum[name] + each.asarray(out[name])
                params[name] = params[name] - 0.01 * momentum[name]
        losses[each] = history
    np.testing.assert_allclose(losses[ops], losses[reference.ops], rtol=1e-8)
    assert losses[ops][-1] < losses[ops][0]


@pytest.mark.parametrize("name", ["dual with scales", "resnet18"])
def test_same_bits_twice(ops, name):
    problem = Problem(name)
    first, second = (problem.run(ops, np.float32) for _ in range(2))
    for key, value in first.items():
        assert value.tobytes() == second[key].tobytes(), key
