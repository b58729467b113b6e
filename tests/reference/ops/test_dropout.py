from __future__ import annotations

import numpy as np
import pytest

from reference.ops import OpError, dropout, dropout_backward


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 1, 5), (5,), ()])
def test_against_loops(shape, rng):
    x, dy = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    mask = np.asarray(rng.random(shape) < 0.6)
    y, cache = dropout(x, mask, rate=0.4)
    dx = dropout_backward(dy, cache)
    everywhere = np.broadcast_to(mask, x.shape)
    for index in np.ndindex(x.shape):
        assert y[index] == (x[index] / 0.6 if everywhere[index] else 0)
        assert dx[index] == (dy[index] / 0.6 if everywhere[index] else 0)


def test_the_expectation_is_x(rng):
    y, _ = dropout(np.full(100_000, 3.0), rng.random(100_000) < 0.8, rate=0.2)
    assert y.mean() == pytest.approx(3, rel=0.01)


def test_rate_0_is_the_identity(rng):
    x = rng.normal(size=(2, 3))
    y, cache = dropout(x, np.ones((2, 3), bool), rate=0)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)


def test_what_is_dropped_is_gone_even_where_it_is_not_finite():
    y, _ = dropout(np.array([np.inf, 1.0]), np.array([False, True]), rate=0.5)
    np.testing.assert_array_equal(y, [0, 2])


def test_a_rate_of_numpy_does_not_promote():
    y, cache = dropout(np.ones(2, np.float32), np.ones(2, bool), rate=np.float64(0.5))
    assert y.dtype == dropout_backward(y, cache).dtype == np.float32


@pytest.mark.parametrize(
    ("mask", "rate", "message"),
    [
        (np.ones((2, 3)), 0.5, r"mask is float64, wants an array of bool\."),
        ([True, True, False], 0.5, r"mask is list, wants an array of bool\."),
        (np.ones((2, 1), bool), 0.5, None),
        (np.ones((3, 1), bool), 0.5, r"mask has shape \(3, 1\), wants one that broadcasts to \(2, 3\)\."),
        (np.ones((1, 2, 3), bool), 0.5, r"mask has shape \(1, 2, 3\), wants one that broadcasts to \(2, 3\)\."),
        (np.ones((2, 3), bool), 1.0, r"rate is 1\.0, wants at least 0 and less than 1\."),
        (np.ones((2, 3), bool), -0.1, r"rate is -0\.1, wants at least 0 and less than 1\."),
    ],
)
def test_errors(mask, rate, message):
    if message is None:
        assert dropout(np.ones((2, 3)), mask, rate=rate)[0].shape == (2, 3)
        return
    with pytest.raises(OpError, match=f"^dropout: {message}$"):
        dropout(np.ones((2, 3)), mask, rate=rate)
