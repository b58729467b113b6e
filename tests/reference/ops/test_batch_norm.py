from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, batch_norm, batch_norm_backward, batch_norm_relu, batch_norm_relu_backward


def naive(x, scale, shift, mean, variance, training, eps):
    batch, height, width, channels = x.shape
    pixels = list(np.ndindex(batch, height, width))
    y = np.zeros(x.shape)
    for c in range(channels):
        values = [x[(*p, c)] for p in pixels]
        mu = sum(values) / len(values) if training else mean[c]
        var = sum((v - mu) ** 2 for v in values) / len(values) if training else variance[c]
        for p in pixels:
            y[(*p, c)] = scale[c] * (x[(*p, c)] - mu) / math.sqrt(var + eps) + shift[c]
    return y


@pytest.fixture
def arguments(rng):
    return {
        "x": rng.normal(2, 3, size=(2, 3, 5, 4)),
        "scale": rng.normal(size=4),
        "shift": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "variance": rng.uniform(0.1, 2, size=4),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_against_loops(arguments, training, eps):
    y, _ = batch_norm(**arguments, training=training, eps=eps)
    np.testing.assert_allclose(y, naive(**arguments, training=training, eps=eps), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_residual", [True, False])
def test_with_relu_against_loops(arguments, training, with_residual, rng):
    residual = rng.normal(size=arguments["x"].shape) if with_residual else None
    y, cache = batch_norm_relu(**arguments, residual=residual, training=training)
    total = naive(**arguments, training=training, eps=1e-5) + (residual if with_residual else 0)
    np.testing.assert_allclose(y, np.where(total > 0, total, 0), rtol=1e-12, atol=1e-12)

    dy = rng.normal(size=y.shape)
    *_, dresidual = batch_norm_relu_backward(dy, cache)
    if with_residual:
        np.testing.assert_array_equal(dresidual, np.where(total > 0, dy, 0))
    else:
        assert dresidual is None


@pytest.mark.parametrize("op", [batch_norm, batch_norm_relu])
def test_the_cache_holds_the_statistics_that_were_used(arguments, op):
    x = arguments["x"]
    _, cache = op(**arguments, training=True)
    np.testing.assert_allclose(cache.mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(cache.variance, x.var(axis=(0, 1, 2)), rtol=1e-12)  # biased
    _, cache = op(**arguments, training=False)
    np.testing.assert_array_equal(cache.mean, arguments["mean"])
    np.testing.assert_array_equal(cache.variance, arguments["variance"])


def test_training_ignores_the_running_averages(arguments):
    y, _ = batch_norm(**arguments, training=True)
    same, _ = batch_norm(**(arguments | {"mean": None, "variance": None}), training=True)
    np.testing.assert_array_equal(y, same)


def test_given_statistics_make_an_affine_map(arguments, rng):
    y, cache = batch_norm(**arguments, training=False)
    dy = rng.normal(size=y.shape)
    dx, _, _ = batch_norm_backward(dy, cache)
    np.testing.assert_allclose(dx, dy * arguments["scale"] / np.sqrt(arguments["variance"] + 1e-5), rtol=1e-12)


def test_statistics_keep_their_digits_in_float32(rng):
    """A mean of a thousand standard deviations, over the pixels of two half-size CamVid images."""
    x = rng.normal(1000, 1, size=(2, 180, 240, 2)).astype(np.float32)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    _, cache = batch_norm(x, one, zero, zero, one, training=True)
    np.testing.assert_allclose(cache.mean, x.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(cache.variance, x.astype(np.float64).var(axis=(0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_pixel_becomes_the_shift_and_gets_no_gradient(dtype):
    x, one, half = np.full((1, 1, 1, 2), 7, dtype), np.ones(2, dtype), np.full(2, 0.5, dtype)
    y, cache = batch_norm(x, one, half, half, one, training=True)
    np.testing.assert_array_equal(y, np.full_like(y, 0.5))
    dx, dscale, dshift = batch_norm_backward(np.full_like(y, 3), cache)
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(dscale, 0)
    np.testing.assert_array_equal(dshift, 3)


def test_the_gradient_has_nothing_that_the_norm_undoes(arguments, rng):
    """Shifting or scaling a channel of x changes nothing, so dx is orthogonal to both (up to ε)."""
    y, cache = batch_norm(**arguments, training=True, eps=1e-12)
    dx, _, _ = batch_norm_backward(rng.normal(size=y.shape), cache)
    np.testing.assert_allclose(dx.sum(axis=(0, 1, 2)), 0, atol=1e-10)
    np.testing.assert_allclose((dx * arguments["x"]).sum(axis=(0, 1, 2)), 0, atol=1e-10)


@pytest.mark.parametrize("op", [batch_norm, batch_norm_relu])
def test_eps_of_numpy_does_not_promote(arguments, op):
    single = {name: array.astype(np.float32) for name, array in arguments.items()}
    assert op(**single, training=True, eps=np.float64(1e-5))[0].dtype == np.float32


@pytest.mark.parametrize("op", [batch_norm, batch_norm_relu])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eps": 0.0}, r"eps is 0\.0, wants a positive number\."),
        ({"mean": np.ones(3)}, r"mean has shape \(3,\), wants \(C=4\)\."),
        ({"variance": np.ones(4, np.float32)}, r"variance is float32, wants float64 as x is\."),
        ({"x": np.ones((3, 4))}, r"x has shape \(3, 4\), wants \(B, H, W, C\)\."),
    ],
)
def test_errors(arguments, op, changed, message):
    with pytest.raises(OpError, match=f"^{op.__name__}: {message}$"):
        op(**(arguments | changed), training=False)


def test_a_residual_must_have_the_shape_of_x(arguments):
    message = r"^batch_norm_relu: residual has shape \(1, 3, 5, 4\), wants \(B=2, H=3, W=5, C=4\)\.$"
    with pytest.raises(OpError, match=message):
        batch_norm_relu(**arguments, residual=arguments["x"][:1], training=True)
