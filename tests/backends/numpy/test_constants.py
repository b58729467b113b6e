"""Ops with weights that do not change: those of a network that predicts, transformed and packed once."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import reference.ops as oracle
from backends import BackendError, get_backend
from backends.tolerances import compare
from reference.layers import Context
from reference.networks import NetworkConfig, build_network

#: What is stored beside the weight, the shapes of input and weight, and the geometry.
CONVOLUTIONS = {
    "pointwise": ("panels", (2, 9, 11, 64), (1, 1, 64, 96), {}),
    "pointwise with stride": ("panels", (2, 9, 11, 32), (1, 1, 32, 64), {"stride": 2}),
    "pointwise, many blocks": ("panels", (1, 61, 67, 96), (1, 1, 96, 32), {}),
    "winograd": ("winograd", (1, 13, 17, 64), (3, 3, 64, 64), {"padding": 1}),
    "winograd with dilation": ("winograd", (2, 30, 33, 32), (3, 3, 32, 64), {"padding": 2, "dilation": 2}),
    "winograd, two tiles": ("winograd", (1, 4, 5, 32), (3, 3, 32, 32), {"padding": 1}),
    "winograd, columns that fill no panel": ("winograd", (1, 13, 17, 48), (3, 3, 48, 40), {"padding": 1}),
    "patches": ("panels", (2, 13, 17, 16), (3, 3, 16, 40), {"stride": 2, "padding": 1}),
    "winograd, several bands": ("winograd", (2, 41, 43, 64), (3, 3, 64, 32), {"padding": 1}),
}


@pytest.fixture
def module(monkeypatch):
    """``backends.numba.constants``, for which no network is too small."""
    try:
        get_backend("numba")
    except BackendError as error:
        pytest.skip(str(error))
    module = sys.modules["backends.numba.constants"]
    monkeypatch.setattr(module, "SMALLEST_NETWORK", 0)
    return module


@pytest.fixture
def ops(module):
    return get_backend("numba")


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def inputs_of(name):
    stored, x_shape, weight_shape, geometry = CONVOLUTIONS[name]
    x, weight, bias = draw(*x_shape), draw(*weight_shape, seed=1), draw(weight_shape[-1], seed=2)
    y, _ = oracle.conv2d(x, weight, **geometry)
    return stored, (x, weight, bias, draw(*y.shape, seed=3)), geometry


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_agree_with_the_reference(ops, name):
    stored, (x, weight, bias, residual), geometry = inputs_of(name)
    constant = ops.constants({"weight": weight})["weight"]
    before = [each.copy() for each in (x, weight, bias, residual)]
    for _ in range(2):  # the second time with what the first has stored
        y, _ = ops.conv2d_relu(x, constant, bias, residual, **geometry)
        wanted, _ = oracle.conv2d_relu(*(each.astype(np.float64) for each in before), **geometry)
        comparison = compare(wanted, y, "float32")
        assert comparison.passed, comparison.reason
        assert list(constant.derived) == [stored]
    y, _ = ops.conv2d(x, constant, **geometry)
    wanted, _ = oracle.conv2d(x.astype(np.float64), weight.astype(np.float64), **geometry)
    comparison = compare(wanted, y, "float32")
    assert comparison.passed, comparison.reason
    for array, copy in zip((x, weight, bias, residual), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("rows", [(3, 7), (300,), (5,)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_maps_agree_with_the_reference(ops, rows, with_bias):
    x, weight, bias = draw(*rows, 48), draw(48, 64, seed=1), draw(64, seed=2) if with_bias else None
    constant = ops.constants({"weight": weight})["weight"]
    y, _ = ops.linear(x, constant, bias)
    wanted, _ = oracle.linear(
        x.astype(np.float64), weight.astype(np.float64), None if bias is None else bias.astype(np.float64)
    )
    comparison = compare(wanted, y, "float32")
    assert comparison.passed, comparison.reason
    assert list(constant.derived) == ["panels"]


@pytest.mark.parametrize("name", ["pointwise, many blocks", "winograd, several bands"])
def test_any_number_of_threads_gives_the_same_bits(ops, name, threads):
    _, (x, weight, bias, residual), geometry = inputs_of(name)
    results = []
    for count in (1, 2):
        threads(count)
        constant = ops.constants({"weight": weight})["weight"]
        kept, _ = ops.conv2d_relu(x, constant, bias, residual, **geometry)
        overwritten, _ = ops.conv2d_relu(x, constant, bias, residual.copy(), **geometry, overwrite_residual=True)
        results.append((kept, overwritten))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_an_output_takes_the_memory_of_a_residual_that_may_be_overwritten(ops, name):
    _, (x, weight, bias, residual), geometry = inputs_of(name)
    constant, before = ops.constants({"weight": weight})["weight"], residual.copy()
    wanted, _ = ops.conv2d_relu(x, constant, bias, residual, **geometry)
    np.testing.assert_array_equal(residual, before)
    y, _ = ops.conv2d_relu(x, constant, bias, residual, **geometry, overwrite_residual=True)
    assert compare(wanted, y, "float32").passed
    assert np.shares_memory(y, residual) == (name not in ("patches", "pointwise with stride"))


def test_a_residual_that_cannot_be_written_is_not_overwritten(ops):
    _, (x, weight, bias, residual), geometry = inputs_of("winograd")
    wanted, _ = ops.conv2d_relu(x, weight, bias, residual, **geometry)
    residual.flags.writeable = False
    y, _ = ops.conv2d_relu(x, weight, bias, residual, **geometry, overwrite_residual=True)
    np.testing.assert_array_equal(y, wanted)
    y, _ = ops.conv2d_relu(x, weight, bias, residual.copy()[:, ::-1], **geometry, overwrite_residual=True)
    assert not np.shares_memory(y, residual)


@pytest.mark.parametrize("taps", [1, 3])
def test_an_input_that_is_its_own_residual_is_not_overwritten(ops, taps):
    x, weight = draw(1, 20, 24, 600), draw(taps, taps, 600, 600, seed=1)
    wanted, _ = ops.conv2d_relu(x, weight, None, x, padding=taps // 2)
    y, _ = ops.conv2d_relu(x, weight, None, x, padding=taps // 2, overwrite_residual=True)
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("name", ["pointwise", "winograd"])
def test_what_is_not_finite_stays_so(ops, name):
    _, (x, weight, bias, _), geometry = inputs_of(name)
    x[0, 4, 5, 6], bias[:] = np.nan, 0
    y, _ = ops.conv2d_relu(x, ops.constants({"weight": weight})["weight"], bias, **geometry)
    assert np.isnan(y[0, 4, 5]).all()
    assert np.isfinite(y[-1, 8:]).all()


def test_weights_that_do_not_fit_are_not_stored_and_give_the_same(ops, module, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_STORE", 4 * 9 * 4 * 64 * 64 + 1)  # one of the two
    _, (x, weight, bias, residual), geometry = inputs_of("winograd")
    constants = ops.constants({"first": weight, "second": weight})
    first, _ = ops.conv2d_relu(x, constants["first"], bias, residual, **geometry)
    second, _ = ops.conv2d_relu(x, constants["second"], bias, residual, **geometry)
    np.testing.assert_array_equal(first, second)
    assert [list(constants[name].derived) for name in ("first", "second")] == [["winograd"], []]
    assert constants["first"].store.free == 1


def test_where_there_are_many_pixels_panels_are_not_stored(ops, monkeypatch):
    _, (x, weight, bias, residual), geometry = inputs_of("pointwise")
    wanted, _ = ops.conv2d_relu(x, ops.constants({"weight": weight})["weight"], bias, residual, **geometry)
    monkeypatch.setattr(sys.modules["backends.numba.products"], "_MANY_ROWS", x.size // x.shape[-1])
    constant = ops.constants({"weight": weight})["weight"]
    y, _ = ops.conv2d_relu(x, constant, bias, residual, **geometry)
    np.testing.assert_array_equal(y, wanted)
    assert not constant.derived


def test_where_there_are_many_tiles_transforms_are_not_stored(ops, monkeypatch):
    _, (x, weight, bias, residual), geometry = inputs_of("winograd")
    wanted, _ = ops.conv2d_relu(x, ops.constants({"weight": weight})["weight"], bias, residual, **geometry)
    monkeypatch.setattr(sys.modules["backends.numba.winograd"], "_MANY_TILES", 13 * 17 // 16)
    constant = ops.constants({"weight": weight})["weight"]
    y, _ = ops.conv2d_relu(x, constant, bias, residual, **geometry)
    np.testing.assert_array_equal(y, wanted)
    assert not constant.derived


def test_float64_agrees_with_the_reference(ops):
    x, weight = draw(1, 9, 11, 64).astype(np.float64), draw(3, 3, 64, 64).astype(np.float64)
    y, _ = ops.conv2d(x, ops.constants({"weight": weight})["weight"], padding=1)
    comparison = compare(oracle.conv2d(x, weight, padding=1)[0], y, "float64")
    assert comparison.passed, comparison.reason


def test_small_networks_and_vectors_are_left_as_they_are(ops, module, monkeypatch):
    weight, bias = draw(64, 64), draw(64)
    constants = ops.constants({"weight": weight, "bias": bias})
    assert isinstance(constants["weight"], module.Constant)
    assert constants["bias"] is bias
    assert not isinstance(weight, module.Constant)
    assert not constants["weight"][:2].derived
    monkeypatch.setattr(module, "SMALLEST_NETWORK", 64 * 65 + 1)
    assert ops.constants({"weight": weight, "bias": bias})["weight"] is weight


def test_a_whole_network_predicts_what_the_reference_does(ops):
    network = build_network(NetworkConfig(classes=5, backbone="resnet18", head="dual"))
    params = network.initialise(seed=0)
    params |= {name: np.full_like(value, 0.5) for name, value in params.items() if name.endswith(".gate")}
    image = draw(1, 65, 81, 3)
    exact = {name: value.astype(np.float64) for name, value in params.items()}
    wanted = network.predict(image.astype(np.float64), Context(oracle, exact))
    constants = ops.constants(network.fold(params))
    scores = network.predict(image, Context(ops, constants))
    assert np.abs(scores - wanted).max() <= 1e-5 * np.abs(wanted).max()
    derived = [name for name, value in constants.items() if getattr(value, "derived", None)]
    assert len(derived) > 20
