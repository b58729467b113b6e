"""exp in compiled loops, against float64."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")

import numba

from backends.numba.compile import OPTIONS
from backends.numba.exp import exp_up_to_zero


@pytest.fixture(scope="module")
def exp():
    """exp of an array, with the options of all kernels, which let the compiler reorder sums."""

    @numba.njit(**OPTIONS)
    def compute(x, y):
        for k in range(len(x)):
            y[k] = exp_up_to_zero(x[k])

    def exp(x):
        y = np.empty_like(x)
        compute(x, y)
        return y

    return exp


def test_exp_is_within_two_units_in_the_last_place(exp):
    x = np.linspace(-87.3, 0, 1 << 20, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(exp(x) / exact - 1)) < 2e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exp_of_ends(exp, dtype):
    x = np.array([0, -0.0, -1e-30, -1e5, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(exp(x), np.array([1, 1, 1, 0, 0, np.nan], dtype))


def test_exp_does_not_jump_where_it_becomes_zero(exp):
    x = np.linspace(-89, -87, 1001, dtype=np.float32)
    assert np.max(np.abs(exp(x) - np.exp(x.astype(np.float64)))) < 2 * np.finfo(np.float32).tiny
