from __future__ import annotations

import numpy as np
import pytest

from reference.ops import OpError, gated_residual, gated_residual_backward


def test_against_loops(rng):
    x, update, dy = rng.normal(size=(3, 2, 4, 5))
    y, cache = gated_residual(x, update, np.array(0.7))
    dx, dupdate, dgate = gated_residual_backward(dy, cache)
    total = 0.0
    for index in np.ndindex(x.shape):
        assert y[index] == x[index] + 0.7 * update[index]
        assert dx[index] == dy[index]
        assert dupdate[index] == 0.7 * dy[index]
        total += dy[index] * update[index]
    assert dgate.shape == ()
    assert dgate == pytest.approx(total, rel=1e-12)


def test_a_closed_gate_lets_nothing_through_and_can_open(rng):
    x, update, dy = rng.normal(size=(3, 2, 4))
    y, cache = gated_residual(x, update, np.array(0.0))
    _, dupdate, dgate = gated_residual_backward(dy, cache)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dupdate, np.zeros((2, 4)))
    assert dgate != 0


def test_a_gate_of_one_value_is_no_scalar():
    with pytest.raises(OpError, match=r"^gated_residual: gate has shape \(1,\), wants \(\)\.$"):
        gated_residual(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(1))


def test_the_update_must_have_the_shape_of_x():
    with pytest.raises(OpError, match=r"^gated_residual: update has shape \(1, 3\), wants \(2, 3\)\.$"):
        gated_residual(np.zeros((2, 3)), np.zeros((1, 3)), np.zeros(()))
