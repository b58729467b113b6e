from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.ops import OpError, max_pool2d, max_pool2d_backward


def naive(x, dy, window, stride, padding):
    """Values and gradient; the first of equal values in row order wins."""
    batch, height, width, channels = x.shape
    out_h = (height + 2 * padding - window) // stride + 1
    out_w = (width + 2 * padding - window) // stride + 1
    y, dx = np.zeros((batch, out_h, out_w, channels)), np.zeros(x.shape)
    for b, h, w, c in np.ndindex(y.shape):
        best, where = -float("inf"), None
        for i, j in np.ndindex(window, window):
            row, column = h * stride + i - padding, w * stride + j - padding
            if 0 <= row < height and 0 <= column < width and x[b, row, column, c] > best:
                best, where = x[b, row, column, c], (b, row, column, c)
        y[b, h, w, c] = best
        dx[where] += dy(y.shape)[b, h, w, c]
    return y, dx


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    window=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_against_loops_with_many_ties(size, window, stride, padding, seed):
    x = np.random.default_rng(seed).integers(-3, 0, (2, *size, 2)).astype(float)  # negative: padding would win

    def dy(shape):
        return np.random.default_rng(seed + 1).normal(size=shape)

    if padding >= window:
        with pytest.raises(OpError, match=r"^max_pool2d: padding is \d, wants less than the window of \d\.$"):
            max_pool2d(x, window=window, stride=stride, padding=padding)
        return
    if min(size) + 2 * padding < window:
        with pytest.raises(OpError, match=r"^max_pool2d: x is \d×\d with padding \d, wants at least the"):
            max_pool2d(x, window=window, stride=stride, padding=padding)
        return
    y, cache = max_pool2d(x, window=window, stride=stride, padding=padding)
    wanted_y, wanted_dx = naive(x, dy, window, stride, padding)
    np.testing.assert_array_equal(y, wanted_y)
    np.testing.assert_allclose(max_pool2d_backward(dy(y.shape), cache), wanted_dx, rtol=1e-12, atol=1e-12)


def test_on_a_tie_the_first_in_row_order_gets_the_gradient():
    y, cache = max_pool2d(np.zeros((1, 2, 2, 1)), window=2, stride=2)
    np.testing.assert_array_equal(max_pool2d_backward(np.ones_like(y), cache).ravel(), [1, 0, 0, 0])


def test_nan_is_not_hidden():
    x = np.array([1.0, np.nan, 2.0, 3.0]).reshape(1, 2, 2, 1)
    assert np.isnan(max_pool2d(x, window=2, stride=2)[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0, "stride": 1}, r"window is 0, wants an integer of at least 1\."),
        ({"window": 2, "stride": 0}, r"stride is 0, wants an integer of at least 1\."),
        ({"window": 2, "stride": 1, "padding": -1}, r"padding is -1, wants an integer of at least 0\."),
        ({"window": 6, "stride": 1}, r"x is 4×5 with padding 0, wants at least the 6×6 of one window\."),
    ],
)
def test_errors(options, message):
    with pytest.raises(OpError, match=f"^max_pool2d: {message}$"):
        max_pool2d(np.zeros((1, 4, 5, 2)), **options)


def test_other_axes_are_refused():
    with pytest.raises(OpError, match=r"^max_pool2d: x has shape \(4, 5, 2\), wants \(B, H, W, C\)\.$"):
        max_pool2d(np.zeros((4, 5, 2)), window=2, stride=2)
