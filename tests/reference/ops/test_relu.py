from __future__ import annotations

import numpy as np

from reference.ops import relu, relu_backward


def test_against_loops(rng):
    x, dy = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    y, cache = relu(x)
    dx = relu_backward(dy, cache)
    for index in np.ndindex(x.shape):
        assert y[index] == (x[index] if x[index] > 0 else 0)
        assert dx[index] == (dy[index] if x[index] > 0 else 0)


def test_the_kink_gets_no_gradient():
    y, cache = relu(np.array([0.0, -0.0, 1e-300]))
    np.testing.assert_array_equal(relu_backward(np.ones_like(y), cache), [0, 0, 1])


def test_what_is_not_finite_stays_visible():
    """A NaN must reach the loss, where training stops; and what a negative input closes stays closed."""
    y, cache = relu(np.array([np.nan, np.inf, -np.inf]))
    np.testing.assert_array_equal(y, [np.nan, np.inf, 0])
    assert relu_backward(np.array([1.0, 1.0, np.inf]), cache)[2] == 0
