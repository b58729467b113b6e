"""The table of tolerances decides what agrees, so each of its rules is shown to reject."""

from __future__ import annotations

import numpy as np
import pytest

from backends.tolerances import TOLERANCES, compare, tolerance

DTYPES = ["float64", "float32", "float16"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_measured_against_the_largest_value(dtype: str) -> None:
    limit = tolerance(dtype)
    reference = np.array([-400.0, 1e-3, 0.0])
    within = (reference + np.array([0, 300 * limit, 0])).astype(dtype)
    beyond = (reference + np.array([0, 600 * limit, 0])).astype(dtype)
    assert compare(reference, within, dtype).passed
    outcome = compare(reference, beyond, dtype)
    assert not outcome.passed
    assert outcome.max_abs == pytest.approx(600 * limit, rel=0.01)
    assert outcome.max_rel == pytest.approx(1.5 * limit, rel=0.01)
    assert "largest value" in outcome.reason


def test_zero_reference_is_measured_against_one() -> None:
    zero = np.zeros(4)
    assert compare(zero, zero.astype(np.float32), "float32").passed
    assert compare(zero, np.full(4, 9e-6, np.float32), "float32").passed
    assert not compare(zero, np.full(4, 2e-5, np.float32), "float32").passed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [1.0, 1.5, 0.75, -3.0, 1000.0])
def test_ulp_agrees_with_numpy_spacing(dtype: str, value: float) -> None:
    reference = np.array(value, dtype)
    got = reference + 3 * np.spacing(reference)
    assert compare(reference, got, dtype).ulp == 3.0


def test_ulp_of_a_cancelled_element_is_not_taken_at_its_own_size() -> None:
    epsilon = TOLERANCES["float32"].epsilon
    outcome = compare(np.array([1.0, 0.0]), np.array([1.0, epsilon], np.float32), "float32")
    assert outcome.ulp == 1024  # in the spacing at 1/1000, which is that at 1/1024
    assert outcome.passed


@pytest.mark.parametrize(
    ("reference", "got", "passed"),
    [
        ([1.0, np.inf], [1.0, np.inf], True),
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, np.inf], [1.0, -np.inf], False),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([1.0, 2.0], [1.0, np.nan], False),
        ([1.0, 2.0], [1.0, np.inf], False),
    ],
)
def test_non_finite_values_must_stand_where_the_reference_has_them(
    reference: list[float], got: list[float], passed: bool
) -> None:
    outcome = compare(np.array(reference), np.array(got, np.float32), "float32")
    assert outcome.passed is passed
    assert passed or outcome.max_abs == np.inf
    assert passed or "NaN or infinite" in outcome.reason


def test_shape_and_dtype_must_match() -> None:
    reference = np.ones((2, 3))
    assert "shape (3, 2)" in compare(reference, np.ones((3, 2), np.float32), "float32").reason
    assert "dtype float64" in compare(reference, np.ones((2, 3)), "float32").reason
    assert not compare(reference, None, "float32").passed


def test_empty_arrays_agree() -> None:
    assert compare(np.zeros((0, 3)), np.zeros((0, 3), np.float32), "float32").passed


def test_what_a_plain_implementation_cannot_do_is_not_asked() -> None:
    reference, got = np.array([2.0]), np.array([2.002], np.float32)
    assert not compare(reference, got, "float32").passed
    assert not compare(reference, got, "float32", plain_error=5e-5).passed
    allowed = compare(reference, got, "float32", plain_error=1e-4)
    assert allowed.passed
    assert allowed.tolerance == 1e-5
    assert allowed.max_rel == pytest.approx(1e-5 * 1e-3 / (16 * 1e-4), rel=1e-3)
    assert compare(reference, got, "float32", plain_error=1e-9) == compare(reference, got, "float32")


def test_half_precision_may_be_off_by_twice_a_plain_implementation() -> None:
    reference = np.array([0.01, 2.0])
    assert compare(reference, np.array([0.01, 2.0018], np.float16), "float16").passed
    assert not compare(reference, np.array([0.01, 2.038], np.float16), "float16", plain_error=0.009).passed
    assert compare(reference, np.array([0.01, 2.038], np.float16), "float16", plain_error=0.01).passed
