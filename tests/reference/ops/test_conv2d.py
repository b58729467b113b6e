from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.ops import OpError, conv2d, conv2d_backward


def naive(x, weight, bias, stride, padding, dilation):
    batch, height, width, inputs = x.shape
    kh, kw, _, outputs = weight.shape
    out_h = (height + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    out_w = (width + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((batch, out_h, out_w, outputs))
    for b, h, w, o in np.ndindex(y.shape):
        y[b, h, w, o] = bias[o]
        for i, j, c in np.ndindex(kh, kw, inputs):
            row, column = h * stride + i * dilation - padding, w * stride + j * dilation - padding
            if 0 <= row < height and 0 <= column < width:
                y[b, h, w, o] += x[b, row, column, c] * weight[i, j, c, o]
    return y


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 2),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    data=st.data(),
)
def test_against_loops(batch, size, window, channels, stride, padding, dilation, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(batch, *size, channels[0]))
    weight, bias = rng.normal(size=(*window, *channels)), rng.normal(size=channels[1])
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if any(n + 2 * padding < dilation * (k - 1) + 1 for n, k in zip(size, window, strict=True)):
        with pytest.raises(OpError, match=r"^conv2d: x is \d×\d with padding \d, wants at least the \d×\d of one"):
            conv2d(x, weight, bias, **options)
        return
    y, cache = conv2d(x, weight, bias, **options)
    np.testing.assert_allclose(y, naive(x, weight, bias, **options), rtol=1e-12, atol=1e-12)

    # The op is linear in x and in weight, so its derivatives are transposes: exact equations, no differences.
    dy = rng.normal(size=y.shape)
    dx, dweight, dbias = conv2d_backward(dy, cache)
    linear_part = np.vdot(dy, y - bias)
    assert np.vdot(dx, x) == pytest.approx(linear_part, rel=1e-9, abs=1e-9)
    assert np.vdot(dweight, weight) == pytest.approx(linear_part, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(dbias, dy.sum(axis=(0, 1, 2)), rtol=1e-12, atol=1e-12)


def test_an_impulse_shows_the_window_flipped_by_its_position():
    """A correlation: the tap at the top left sees the pixel from its lower right neighbour."""
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2, 0] = 1
    weight = np.arange(9.0).reshape(3, 3, 1, 1)
    y, _ = conv2d(x, weight, padding=1)
    np.testing.assert_array_equal(y[0, 1:4, 1:4, 0], weight[::-1, ::-1, 0, 0])


def test_gradient_of_the_bias_keeps_its_digits_in_float32():
    dy = np.full((1, 600, 500, 1), 0.1, np.float32)
    _, cache = conv2d(dy, np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))
    _, _, dbias = conv2d_backward(dy, cache)
    assert dbias.item() == pytest.approx(30000, rel=1e-7)


def test_integers_of_numpy_are_integers():
    y, _ = conv2d(np.ones((1, 4, 4, 1)), np.ones((2, 2, 1, 1)), stride=np.int64(2), padding=np.int32(0))
    assert y.shape == (1, 2, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": np.ones((3, 3, 4, 2))}, r"weight has shape \(3, 3, 4, 2\), wants \(kh, kw, Ci=3, Co\)\."),
        ({"weight": np.ones((3, 3, 3))}, r"weight has shape \(3, 3, 3\), wants \(kh, kw, Ci=3, Co\)\."),
        ({"bias": np.ones(3)}, r"bias has shape \(3,\), wants \(Co=2\)\."),
        ({"x": np.ones((5, 5, 3))}, r"x has shape \(5, 5, 3\), wants \(B, H, W, Ci\)\."),
        ({"stride": 0}, r"stride is 0, wants an integer of at least 1\."),
        ({"stride": 1.5}, r"stride is 1\.5, wants an integer of at least 1\."),
        ({"dilation": -1}, r"dilation is -1, wants an integer of at least 1\."),
        ({"padding": -1}, r"padding is -1, wants an integer of at least 0\."),
        ({"padding": (1, 1)}, r"padding is \(1, 1\), wants an integer of at least 0\."),
        ({"dilation": 3}, r"x is 5×5 with padding 0, wants at least the 7×7 of one window\."),
    ],
)
def test_errors(arguments, message):
    fits = {"x": np.ones((1, 5, 5, 3)), "weight": np.ones((3, 3, 3, 2)), "bias": np.ones(2)}
    with pytest.raises(OpError, match=f"^conv2d: {message}$"):
        conv2d(**(fits | arguments))
