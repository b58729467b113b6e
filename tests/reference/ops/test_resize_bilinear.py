from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.ops import OpError, resize_bilinear, resize_bilinear_backward, resize_bilinear_rows


def position(out, size_in, size_out, align_corners):
    """Where sample ``out`` of the output lies on the grid of the input."""
    if align_corners:
        return 0.0 if size_out == 1 else out * (size_in - 1) / (size_out - 1)
    return min(max((out + 0.5) * size_in / size_out - 0.5, 0.0), size_in - 1.0)


def naive(x, size, align_corners):
    batch, height, width, channels = x.shape
    y = np.zeros((batch, *size, channels))
    for b, h, w, c in np.ndindex(y.shape):
        row = position(h, height, size[0], align_corners)
        column = position(w, width, size[1], align_corners)
        top, left = math.floor(row), math.floor(column)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        v, u = row - top, column - left
        upper = (1 - u) * x[b, top, left, c] + u * x[b, top, right, c]
        lower = (1 - u) * x[b, bottom, left, c] + u * x[b, bottom, right, c]
        y[b, h, w, c] = (1 - v) * upper + v * lower
    return y


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size_in=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size_out=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    align_corners=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_against_loops(size_in, size_out, align_corners, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, *size_in, 2))
    y, cache = resize_bilinear(x, size_out, align_corners=align_corners)
    np.testing.assert_allclose(y, naive(x, size_out, align_corners), rtol=1e-10, atol=1e-10)

    for first in range(size_out[0]):
        for last in range(first + 1, size_out[0] + 1):
            rows = resize_bilinear_rows(x, size_out, (first, last), align_corners=align_corners)
            np.testing.assert_allclose(rows, y[:, first:last], rtol=1e-12, atol=1e-12)

    # The op is linear: the backward pass is its transpose, exactly.
    dy = rng.normal(size=y.shape)
    assert np.vdot(resize_bilinear_backward(dy, cache), x) == pytest.approx(np.vdot(dy, y), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("rows", [(0, 0), (2, 1), (-1, 2), (0, 5), (1, 2, 3), 3])
def test_rows_beyond_the_size_are_refused(rows):
    with pytest.raises(OpError, match=r"resize_bilinear_rows: rows are .*, want \(first, last\) with 0 <= first"):
        resize_bilinear_rows(np.zeros((1, 2, 2, 1)), (4, 4), rows)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_size_gives_back_the_same_values(align_corners, dtype, rng):
    x = rng.normal(size=(2, 7, 5, 3)).astype(dtype)
    y, cache = resize_bilinear(x, (7, 5), align_corners=align_corners)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(resize_bilinear_backward(x, cache), x)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 20), (23, 2)])
def test_a_constant_stays_constant(align_corners, size):
    y, _ = resize_bilinear(np.full((1, 5, 6, 1), 3.0), size, align_corners=align_corners)
    np.testing.assert_allclose(y, 3, rtol=1e-14)


@pytest.mark.parametrize("align_corners", [True, False])
def test_one_pixel_fills_any_size(align_corners):
    y, cache = resize_bilinear(np.full((1, 1, 1, 1), 2.0), (3, 4), align_corners=align_corners)
    np.testing.assert_array_equal(y, np.full((1, 3, 4, 1), 2.0))
    assert resize_bilinear_backward(np.ones_like(y), cache).item() == pytest.approx(12)


def test_to_one_pixel():
    """With aligned corners it is the first pixel; with pixels as areas, the middle of the image."""
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    assert resize_bilinear(x, (1, 1), align_corners=True)[0].item() == 0
    assert resize_bilinear(x, (1, 1))[0].item() == 1.5


def test_aligned_corners_keep_the_corners(rng):
    x = rng.normal(size=(1, 3, 4, 1))
    y, _ = resize_bilinear(x, (10, 11), align_corners=True)
    np.testing.assert_allclose(y[:, ::9, ::10], x[:, ::2, ::3], rtol=1e-14)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((0, 3), r"height is 0, wants an integer of at least 1\."),
        ((3, 2.5), r"width is 2\.5, wants an integer of at least 1\."),
        ((3,), r"size is \(3,\), wants \(height, width\)\."),
        (3, r"size is 3, wants \(height, width\)\."),
    ],
)
def test_errors(size, message):
    with pytest.raises(OpError, match=f"^resize_bilinear: {message}$"):
        resize_bilinear(np.zeros((1, 2, 2, 1)), size)


def test_other_axes_are_refused():
    with pytest.raises(OpError, match=r"^resize_bilinear: x has shape \(4, 5\), wants \(B, H, W, C\)\.$"):
        resize_bilinear(np.zeros((4, 5)), (2, 2))


def test_a_size_may_be_an_array():
    y, _ = resize_bilinear(np.ones((1, 2, 2, 1)), np.array([3, 4]))
    assert y.shape == (1, 3, 4, 1)
