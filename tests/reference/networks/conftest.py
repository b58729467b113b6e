"""Small networks in float64 whose every parameter speaks: gates open, no weight at zero."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import reference.ops
from reference.layers import Context
from reference.networks import NetworkConfig, Objective, build_network, is_trained

CLASSES = 4


def lively_params(network, seed=0):
    """The initial parameters in float64, with noise on those that start at a constant."""
    rng = np.random.default_rng(seed)
    params = {}
    for name, value in network.initialise(seed).items():
        value = value.astype(np.float64)
        if np.ptp(value) == 0:
            value = value + rng.uniform(0.1, 0.5, value.shape)
        params[name] = value
    return params


def draw_mask(name, shape, rate):
    """A dropout mask that depends on the layer's name alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).random(shape) >= rate


class Problem:
    """A network, its parameters, and a batch to be fitted."""

    def __init__(self, weights=None, *, terms=None, size=(21, 18), batch=2, dropout=True, **config):
        small = {"classes": CLASSES, "head_channels": 8, "scale_attention_channels": 6}
        self.network = build_network(NetworkConfig(**small, **config))
        self.objective = Objective(self.network, weights, terms=terms, class_weights=[1.0, 2.0, 0.5, 1.5])
        self.params = lively_params(self.network)
        rng = np.random.default_rng(1)
        self.images = rng.normal(size=(batch, *size, 3))
        self.labels = rng.integers(0, CLASSES, (batch, *size))
        self.labels[:, :3] = 255
        self.draw_mask = draw_mask if dropout else None

    def context(self, params=None):
        return Context(
            reference.ops, self.params if params is None else params, save_for_backward=True, batch_statistics=True,
            draw_mask=self.draw_mask,
        )

    def loss(self, params=None):
        return self.objective.forward(self.images, self.labels, self.context(params))

    def gradients(self):
        ctx = self.context()
        self.objective.forward(self.images, self.labels, ctx)
        return self.objective.backward(ctx)

    def direction(self, chosen):
        """A random unit direction in the space of the parameters that ``chosen(name)`` picks."""
        rng = np.random.default_rng(2)
        names = [name for name in self.params if is_trained(name) and chosen(name)]
        return {name: rng.normal(size=self.params[name].shape) for name in names}

    def slope(self, measure, direction, step=1e-6):
        """The central difference of ``measure(params)`` along ``direction``."""
        ahead = {name: self.params[name] + step * d for name, d in direction.items()}
        behind = {name: self.params[name] - step * d for name, d in direction.items()}
        return (measure(self.params | ahead) - measure(self.params | behind)) / (2 * step)


@pytest.fixture
def make_problem():
    return Problem
