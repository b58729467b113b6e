"""The length of a whole gradient, in double."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from reference.updates import sum_of_squares

SHAPES = [(3, 3, 2, 4), (5,), (), (1, 7)]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_it_is_the_sum_over_all_values(rng, dtype):
    arrays = [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in SHAPES]
    wanted = math.fsum(float(value) ** 2 for array in arrays for value in array.ravel())
    found = sum_of_squares(arrays)
    assert (found.shape, found.dtype) == ((), np.float64)
    assert float(found) == pytest.approx(wanted, rel=1e-13)


def test_dtypes_may_differ_and_arrays_may_be_strided_and_read_only(rng):
    weight, bias = rng.normal(size=(4, 6)).astype(np.float16)[::2, ::3], rng.normal(size=3).astype(np.float32)
    weight.flags.writeable = bias.flags.writeable = False
    wanted = math.fsum(float(value) ** 2 for value in [*weight.ravel(), *bias])
    assert float(sum_of_squares([weight, bias])) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(("dtype", "value"), [(np.float16, 6e4), (np.float32, 3e38), (np.float32, 1e-30)])
def test_squares_are_taken_in_double(dtype, value):
    x = np.full((2, 3), value, dtype)
    assert float(sum_of_squares([x])) == pytest.approx(6 * float(x[0, 0]) ** 2, rel=1e-13)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_not_finite_shows(dtype, value):
    x = np.ones((2, 3), dtype)
    x[1, 2] = value
    assert not np.isfinite(sum_of_squares([np.ones(4, dtype), x, np.ones(4, dtype)]))


def test_nothing_is_zero_long():
    assert sum_of_squares([]) == 0
    assert sum_of_squares([np.zeros((2, 2), np.float32)]) == 0
