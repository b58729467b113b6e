from __future__ import annotations

import math

import numpy as np
import pytest

from reference.ops import OpError, softmax, softmax_backward


def test_against_loops(rng):
    x, dy = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 5))
    y, cache = softmax(x)
    dx = softmax_backward(dy, cache)
    for row in np.ndindex(2, 3):
        exponentials = [math.exp(v) for v in x[row]]
        p = [e / sum(exponentials) for e in exponentials]
        np.testing.assert_allclose(y[row], p, rtol=1e-12)
        for k in range(5):  # by the Jacobian ∂p_l/∂x_k = p_l (δ_lk − p_k)
            wanted = sum(dy[row][m] * p[m] * ((m == k) - p[k]) for m in range(5))
            assert dx[row][k] == pytest.approx(wanted, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits(dtype):
    y, cache = softmax(np.array([[1000, -1000, 1000], [-1000, -1000, -1000], [-1e30, 0, 1e30]], dtype))
    np.testing.assert_allclose(y, [[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]], rtol=1e-6)
    assert np.isfinite(softmax_backward(np.full_like(y, 1000), cache)).all()


def test_moving_a_row_changes_nothing(rng):
    x = rng.normal(size=(4, 5))
    y, cache = softmax(x)
    np.testing.assert_allclose(softmax(x + rng.normal(size=(4, 1)))[0], y, rtol=1e-12)
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(softmax_backward(rng.normal(size=(4, 5)), cache).sum(axis=-1), 0, atol=1e-12)


def test_a_scalar_is_refused():
    with pytest.raises(OpError, match=r"^softmax: x has shape \(\), wants \(\.\.\., K\)\.$"):
        softmax(np.array(1.0))
