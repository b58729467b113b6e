from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, channel_attention, channel_attention_backward


def naive(x, form):
    """Equations 3 and 4, or the authors' code with its row maximum: j gathers, i is gathered from."""
    batch, pixels, channels = x.shape
    y = np.zeros(x.shape)
    for b in range(batch):
        for j in range(channels):
            energy = [sum(x[b, n, i] * x[b, n, j] for n in range(pixels)) for i in range(channels)]
            if form == "released":
                energy = [max(energy) - e for e in energy]
            s = [math.exp(e) for e in energy]
            for i in range(channels):
                y[b, :, j] += s[i] / sum(s) * x[b, :, i]
    return y


@pytest.mark.parametrize("form", ["released", "paper"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 7, 4), (1, 3, 6)])
def test_against_loops(form, shape, rng):
    x = rng.normal(size=shape)
    y, _ = channel_attention(x, form=form)
    np.testing.assert_allclose(y, naive(x, form), rtol=1e-11, atol=1e-12)


def test_the_form_of_the_authors_code_is_the_default(rng):
    x = rng.normal(size=(2, 7, 4))
    np.testing.assert_array_equal(channel_attention(x)[0], channel_attention(x, form="released")[0])
    assert not np.allclose(channel_attention(x)[0], channel_attention(x, form="paper")[0])


@pytest.mark.parametrize("form", ["released", "paper"])
def test_the_order_of_channels_is_kept_and_that_of_pixels_does_not_matter(form, rng):
    x, dy = rng.normal(size=(2, 1, 7, 4))
    y, cache = channel_attention(x, form=form)
    dx = channel_attention_backward(dy, cache)
    pixels, channels = rng.permutation(7), rng.permutation(4)

    def permuted(array):
        return array[:, pixels][:, :, channels]

    y_permuted, cache = channel_attention(permuted(x), form=form)
    dx_permuted = channel_attention_backward(permuted(dy), cache)
    np.testing.assert_allclose(y_permuted, permuted(y), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dx_permuted, permuted(dx), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", ["released", "paper"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_energies_of_millions(form, dtype):
    x = np.array([[[1000, -1000, 1], [1000, 1000, 1]]], dtype)
    y, cache = channel_attention(x, form=form)
    if form == "paper":
        np.testing.assert_array_equal(y, x[..., [0, 1, 0]])  # every channel takes the one that matches it best
    assert np.isfinite(channel_attention_backward(np.full_like(y, 1000), cache)).all()


def test_an_unknown_form_is_refused():
    with pytest.raises(OpError, match=r"^channel_attention: form is 'negated', wants one of paper, released\.$"):
        channel_attention(np.zeros((1, 2, 3)), form="negated")


def test_maps_must_be_tokens():
    with pytest.raises(OpError, match=r"^channel_attention: x has shape \(1, 2, 3, 4\), wants \(B, N, C\)\.$"):
        channel_attention(np.zeros((1, 2, 3, 4)))
