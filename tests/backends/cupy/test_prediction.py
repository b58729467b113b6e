"""Prediction by the tool in every precision."""

from __future__ import annotations

import numpy as np
import pytest

import reference.ops
from backends import BackendError, get_backend
from reference.networks import NetworkConfig, build_network
from reference.ops.checks import HALVES

pytest.importorskip("pydantic", reason="pydantic is not installed: pip install pydantic")

from segattn_cli.prediction.predictor import Predictor

pytestmark = pytest.mark.gpu

NETWORK = NetworkConfig(
    classes=5, backbone="tiny", head="dual", scales=(1.0, 0.5), fusion="attention", scale_attention_channels=32
)
#: precision → how far scores may be off, relative to the largest: some roundings, as errors add up over the layers.
TOLERANCES = {"float32": 1e-5, "tf32": 4 * 2.0**-10, "float16": 4 * 2.0**-10, "bfloat16": 4 * 2.0**-7}


@pytest.fixture(params=TOLERANCES)
def precision(request, ops):
    try:
        get_backend("cupy", request.param)
    except BackendError as error:
        pytest.skip(str(error))
    yield request.param
    get_backend("cupy")  # float32 again


@pytest.mark.parametrize("options", [{}, {"flip": True, "window": (32, 48)}], ids=["one pass", "windows"])
def test_scores_are_float32_and_near(ops, precision, options):
    rng = np.random.default_rng(0)
    network = build_network(NETWORK)
    params = {  # with open gates
        name: (value + (rng.uniform(0.1, 0.5, value.shape) if np.ptp(value) == 0 else 0.0)).astype(np.float32)
        for name, value in network.initialise(0).items()
    }
    picture = rng.integers(0, 256, (41, 57, 3), np.uint8)
    exact = Predictor(network, params, reference.ops, **options).predict(picture)
    got = Predictor(network, params, ops, precision=precision, **options).predict(picture)

    scores = ops.to_numpy(got.scores)
    assert scores.dtype == np.float32
    error = np.abs(scores - exact.scores).max() / np.abs(exact.scores).max()
    assert error < TOLERANCES[precision]
    assert error > 1e-5 or precision not in HALVES, "16 bits did not compute"
    np.testing.assert_allclose(got.scale_weights, exact.scale_weights, atol=TOLERANCES[precision])
