from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, position_attention, position_attention_backward


def naive(query, key, value):
    """Equations 1 and 2: j is the pixel that gathers, i the pixel that it gathers from."""
    batch, pixels, _ = query.shape
    y = np.zeros(value.shape)
    for b in range(batch):
        for j in range(pixels):
            s = [math.exp(sum(k * q for k, q in zip(key[b, i], query[b, j], strict=True))) for i in range(pixels)]
            for i in range(pixels):
                y[b, j] += s[i] / sum(s) * value[b, i]
    return y


@pytest.mark.parametrize(("batch", "pixels", "width", "channels"), [(1, 1, 1, 1), (2, 7, 3, 5), (3, 4, 8, 2)])
def test_against_loops(batch, pixels, width, channels, rng):
    query, key = rng.normal(size=(2, batch, pixels, width))
    value = rng.normal(size=(batch, pixels, channels))
    y, _ = position_attention(query, key, value)
    np.testing.assert_allclose(y, naive(query, key, value), rtol=1e-12, atol=1e-12)


def test_energies_are_not_scaled():
    """With energies ln 3 and 0 the weights are 3/4 and 1/4, whatever the width of the query."""
    query, key = np.ones((1, 2, 4)), np.zeros((1, 2, 4))
    key[0, 0] = math.log(3) / 4
    y, _ = position_attention(query, key, np.array([[[4.0], [8.0]]]))
    np.testing.assert_allclose(y, 5, rtol=1e-12)


def test_images_of_a_batch_do_not_see_each_other(rng):
    query, key, value = rng.normal(size=(3, 2, 5, 4))
    y, cache = position_attention(query, key, value)
    dy = rng.normal(size=y.shape)
    alone, cache_alone = position_attention(query[1:], key[1:], value[1:])
    np.testing.assert_allclose(y[1:], alone, rtol=1e-12)
    gradients = zip(
        position_attention_backward(dy, cache), position_attention_backward(dy[1:], cache_alone), strict=True
    )
    for both, one in gradients:
        np.testing.assert_allclose(both[1:], one, rtol=1e-10, atol=1e-13)


def test_the_order_of_keys_does_not_matter_and_that_of_queries_is_kept(rng):
    query, key, value = rng.normal(size=(3, 1, 6, 4))
    order = rng.permutation(6)
    y, _ = position_attention(query, key, value)
    np.testing.assert_allclose(position_attention(query, key[:, order], value[:, order])[0], y, rtol=1e-12)
    np.testing.assert_allclose(position_attention(query[:, order], key, value)[0], y[:, order], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_energies_choose_one_pixel(dtype):
    pixels = np.array([[[1000, 0], [0, 1000]]], dtype)
    value = np.array([[[1], [2]]], dtype)
    y, cache = position_attention(pixels, pixels, value)
    np.testing.assert_array_equal(y, value)
    for gradient in position_attention_backward(np.full_like(y, 1000), cache):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("query", "key", "value", "message"),
    [
        ((2, 7, 3), (2, 7, 4), (2, 7, 5), r"key has shape \(2, 7, 4\), wants \(B=2, N=7, D=3\)\."),
        ((2, 7, 3), (2, 6, 3), (2, 6, 5), r"key has shape \(2, 6, 3\), wants \(B=2, N=7, D=3\)\."),
        ((2, 7, 3), (2, 7, 3), (2, 6, 5), r"value has shape \(2, 6, 5\), wants \(B=2, N=7, C\)\."),
        ((7, 3), (7, 3), (7, 5), r"query has shape \(7, 3\), wants \(B, N, D\)\."),
    ],
)
def test_errors(query, key, value, message):
    with pytest.raises(OpError, match=f"^position_attention: {message}$"):
        position_attention(np.zeros(query), np.zeros(key), np.zeros(value))
