"""Prediction by the tool in every precision."""

from __future__ import annotations

from types import SimpleNamespace

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


@pytest.mark.parametrize(
    "options", [{}, {"scales": (0.5, 1.0), "flip": True}, {"window": (24, 32), "flip": True}],
    ids=["one pass", "scales", "windows"],
)
def test_images_that_are_predicted_together(ops, options):
    """Products of other shapes may be added up in another order; labels differ where two classes are as likely."""
    rng = np.random.default_rng(1)
    network = build_network(NETWORK)
    params = {
        name: (value + (rng.uniform(0.1, 0.5, value.shape) if np.ptp(value) == 0 else 0.0)).astype(np.float32)
        for name, value in network.initialise(0).items()
    }
    pictures = [rng.integers(80 * each, 80 * each + 80, (26, 35, 3), np.uint8) for each in range(3)]
    alone = Predictor(network, params, ops, **options)
    together = Predictor(network, params, ops, batch=2, **options)
    assert not together.is_on_cpu
    for picture, output in zip(pictures, together.run(pictures), strict=True):
        wanted = ops.to_numpy(alone.predict(picture).scores)
        got = ops.to_numpy(together.predict(picture, output).scores)
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())
        maps = together.maps(picture, output, confidence=True)
        first, second = np.sort(wanted, axis=-1)[..., -1], np.sort(wanted, axis=-1)[..., -2]
        is_clear = first - second > 1e-4 * np.abs(wanted).max()
        assert is_clear.mean() > 0.5
        np.testing.assert_array_equal(maps.label[is_clear], wanted.argmax(-1)[is_clear])


def test_of_labels_alone_no_scores_leave_the_device(ops, monkeypatch):
    network = build_network(NetworkConfig(classes=5, backbone="tiny", head="fcn"))
    predictor = Predictor(network, network.initialise(0), ops, batch=2)
    pictures = [np.full((26, 35, 3), level, np.uint8) for level in (30, 200)]
    left = []

    def watched(array):
        left.append((array.dtype.name, array.size))
        return ops.to_numpy(array)

    watching = SimpleNamespace(**vars(ops) | {"to_numpy": watched})
    monkeypatch.setattr(predictor, "ops", watching)
    monkeypatch.setattr(predictor._passes, "ops", watching)
    for picture, output in zip(pictures, predictor.run(pictures), strict=True):
        predictor.maps(picture, output)
    assert left == [("float32", 2), ("uint8", 26 * 35), ("uint8", 26 * 35)]  # the first are the largest scores
