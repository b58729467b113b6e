"""log in compiled loops, against float64."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")

import numba

from backends.numba.compile import OPTIONS
from backends.numba.log import log_from_one


@pytest.fixture(scope="module")
def log():
    """log of an array, with the options of all kernels."""

    @numba.njit(**OPTIONS)
    def compute(x, y):
        for k in range(len(x)):
            y[k] = log_from_one(x[k])

    def log(x):
        y = np.empty_like(x)
        compute(x, y)
        return y

    return log


@pytest.mark.parametrize("most", [1.001, 2, 200, 1e30])
def test_log_is_within_three_units_in_the_last_place(log, most):
    x = np.unique(np.linspace(1, most, 1 << 18, dtype=np.float32))[1:]
    assert np.max(np.abs(log(x) / np.log(x.astype(np.float64)) - 1)) < 3e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_of_one_and_of_nan(log, dtype):
    np.testing.assert_array_equal(log(np.array([1, np.nan], dtype)), np.array([0, np.nan], dtype))
