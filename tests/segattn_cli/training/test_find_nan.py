"""The first tensor that is not finite is named, wherever it is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import backends.reference
from reference.networks import NetworkConfig, Objective, build_network
from segattn_cli.data import Batch
from segattn_cli.training.find_nan import first_non_finite
from segattn_cli.training.gradients import Differentiator


def nan_in(name):
    """The ops, of which the backward ``name`` returns a NaN in its second gradient."""

    def broken(dy, cache):
        dx, dweight, *rest = getattr(backends.reference, name)(dy, cache)
        return dx, dweight * np.nan, *rest

    return SimpleNamespace(**{**vars(backends.reference), name: broken})


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("parameter", "the parameter backbone.bn3.weight"),
        ("image", "the image second"),
        ("layer", "the output of scale 1/backbone.conv3"),
        ("gradient", "the gradient of scale 0.5/head.reduce.norm.weight"),
        ("nowhere", "the norm of all gradients together"),
    ],
)
def test_where(rng, where, sentence):
    network = build_network(
        NetworkConfig(classes=3, head="fcn", head_channels=4, scales=(1.0, 0.5), scale_attention_channels=4)
    )
    params = network.initialise(seed=0)
    images = rng.normal(size=(2, 16, 16, 3)).astype(np.float32)
    ops = backends.reference
    if where == "parameter":
        params["backbone.bn3.weight"][1] = np.nan
        images[1] = np.inf
    elif where == "image":
        images[1, 0, 0, 0] = np.inf
    elif where == "layer":
        params["backbone.conv3.weight"][:] = 3e38
    elif where == "gradient":
        ops = nan_in("batch_norm_relu_backward")
    batch = Batch(images, rng.integers(0, 3, (2, 16, 16)), ("first", "second"), 0.0)
    differentiator = Differentiator(Objective(network), ops, seed=0, batch_statistics=True)
    assert first_non_finite(differentiator, params, [batch], step=0) == sentence
