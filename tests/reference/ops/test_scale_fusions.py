from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import (
    OpError,
    scale_fusion,
    scale_fusion_backward,
    scale_max,
    scale_max_backward,
    scale_mean,
    scale_mean_backward,
)

SHAPE = (3, 2, 4, 5, 6)  # (S, B, H, W, K)


def test_attention_against_loops(rng):
    """Equations 1 and 2, and the derivative by the logits as the paper's readers write it."""
    f, h, G = rng.normal(size=SHAPE), rng.normal(size=(2, 4, 5, 3)), rng.normal(size=SHAPE[1:])
    y, cache = scale_fusion(f, h)
    dscores, dscale_logits = scale_fusion_backward(G, cache)
    for pixel in np.ndindex(2, 4, 5):
        exponentials = [math.exp(v) for v in h[pixel]]
        w = [e / sum(exponentials) for e in exponentials]
        g = [sum(w[s] * f[(s, *pixel, c)] for s in range(3)) for c in range(6)]
        np.testing.assert_allclose(y[pixel], g, rtol=1e-11, atol=1e-13)
        for s in range(3):
            np.testing.assert_allclose(dscores[(s, *pixel)], w[s] * G[pixel], rtol=1e-11)
            wanted = w[s] * sum(G[(*pixel, c)] * (f[(s, *pixel, c)] - g[c]) for c in range(6))
            assert dscale_logits[(*pixel, s)] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_equal_logits_give_the_mean(rng):
    scores = rng.normal(size=SHAPE)
    fused, _ = scale_fusion(scores, np.full((2, 4, 5, 3), 0.3))
    np.testing.assert_allclose(fused, scale_mean(scores)[0], rtol=1e-12, atol=1e-14)


def test_every_scale_gets_a_gradient_through_its_logit(rng):
    """A fusion whose weights multiply one scale only would sum to 1 and never learn."""
    _, cache = scale_fusion(rng.normal(size=SHAPE), rng.normal(size=(2, 4, 5, 3)))
    _, dscale_logits = scale_fusion_backward(rng.normal(size=SHAPE[1:]), cache)
    assert (np.abs(dscale_logits) > 1e-6).all()
    np.testing.assert_allclose(dscale_logits.sum(axis=-1), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_choose_a_scale(dtype, rng):
    scores = rng.normal(size=SHAPE).astype(dtype)
    logits = np.full((2, 4, 5, 3), -1000, dtype)
    logits[..., 1] = 1000
    y, cache = scale_fusion(scores, logits)
    np.testing.assert_array_equal(y, scores[1])
    assert all(np.isfinite(gradient).all() for gradient in scale_fusion_backward(y, cache))


def test_maximum_and_mean_against_loops(rng):
    scores = rng.integers(-2, 3, SHAPE).astype(float)  # many ties
    dy = rng.normal(size=SHAPE[1:])
    largest, cache_max = scale_max(scores)
    average, cache_mean = scale_mean(scores)
    dmax, dmean = scale_max_backward(dy, cache_max), scale_mean_backward(dy, cache_mean)
    for index in np.ndindex(SHAPE[1:]):
        values = [scores[(s, *index)] for s in range(3)]
        first = values.index(max(values))
        assert largest[index] == max(values)
        assert average[index] == pytest.approx(sum(values) / 3, rel=1e-12)
        assert [dmax[(s, *index)] for s in range(3)] == [dy[index] if s == first else 0 for s in range(3)]
        assert [dmean[(s, *index)] for s in range(3)] == [dy[index] / 3] * 3


@pytest.mark.parametrize("op", [scale_max, scale_mean])
def test_one_scale_is_itself(op, rng):
    scores = rng.normal(size=(1, 2, 4, 5, 6))
    np.testing.assert_array_equal(op(scores)[0], scores[0])
    np.testing.assert_allclose(scale_fusion(scores, np.zeros((2, 4, 5, 1)))[0], scores[0], rtol=1e-15)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ((2, 4, 5, 2), r"scale_logits has shape \(2, 4, 5, 2\), wants \(B=2, H=4, W=5, S=3\)\."),
        ((2, 8, 5, 3), r"scale_logits has shape \(2, 8, 5, 3\), wants \(B=2, H=4, W=5, S=3\)\."),
        ((3, 2, 4, 5), r"scale_logits has shape \(3, 2, 4, 5\), wants \(B=2, H=4, W=5, S=3\)\."),
    ],
)
def test_errors(logits, message):
    with pytest.raises(OpError, match=f"^scale_fusion: {message}$"):
        scale_fusion(np.zeros(SHAPE), np.zeros(logits))


@pytest.mark.parametrize("op", [scale_max, scale_mean])
def test_the_scales_must_be_stacked(op):
    with pytest.raises(OpError, match=rf"^{op.__name__}: scores has shape \(2, 4, 5, 6\), wants \(S, B, H, W, K\)"):
        op(np.zeros(SHAPE[1:]))
