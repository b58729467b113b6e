from __future__ import annotations

import numpy as np
import pytest

from reference.ops import OpError, asarray, concatenate, stack, synchronize, to_numpy


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool", "float32", "float64"])
def test_arrays_keep_their_dtype(dtype):
    x = np.ones((2, 3), dtype)
    assert asarray(x) is x
    assert to_numpy(x) is x


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        ([1.5, 2], "float32"),
        (0.5, "float32"),
        ([True, False], "bool"),
        (np.float64(1), "float64"),
        (np.uint8(1), "uint8"),
    ],
)
def test_what_becomes_of_other_things(x, dtype):
    assert asarray(x).dtype == dtype


def test_integers_stay_integers():
    assert asarray([1, 2]).dtype.kind == "i"


def test_a_dtype_that_is_asked_for_is_given():
    assert asarray([1, 2], np.float64).dtype == np.float64
    assert asarray(np.zeros(2), "float32").dtype == np.float32
    assert asarray([0.5], np.float64).dtype == np.float64


def test_concatenate_joins_channels(rng):
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 5))
    joined = concatenate([a, b])
    np.testing.assert_array_equal(joined[..., :4], a)
    np.testing.assert_array_equal(joined[..., 4:], b)


def test_stack_adds_an_axis_in_front(rng):
    a, b = rng.normal(size=(2, 2, 3, 4))
    stacked = stack([a, b])
    assert stacked.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(stacked[1], b)


def test_errors():
    with pytest.raises(OpError, match=r"^concatenate: arrays\[1\] has shape \(3, 3, 4\), wants \(2, 3, C_2\)\.$"):
        concatenate([np.zeros((2, 3, 4)), np.zeros((3, 3, 4))])
    with pytest.raises(OpError, match=r"^stack: arrays\[1\] has shape \(2, 4\), wants \(2, 3\)\.$"):
        stack([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(OpError, match=r"^stack: arrays\[1\] is float32, wants float64 as arrays\[0\] is\.$"):
        stack([np.zeros(2), np.zeros(2, np.float32)])
    with pytest.raises(OpError, match=r"^concatenate: got no arrays, wants at least one\.$"):
        concatenate([])


def test_synchronize_returns():
    assert synchronize() is None
