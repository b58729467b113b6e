"""How far two backends may differ: one table by dtype, shared by the tests and by ``segattn check``.

Errors are relative to the largest magnitude of a tensor: an element that is small because large terms cancelled
has their rounding, so its own relative error says nothing. A tensor agrees if

    max|got − ref| ≤ tolerance · magnitude,    magnitude = max|ref|, or 1 if the reference is zero everywhere.

If even a naive implementation in the same dtype is less exact than that, the reference magnitude is larger: see
:func:`compare`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Precision(NamedTuple):
    """The tolerance of one dtype."""

    tolerance: float  # of max|got − ref|, relative to the reference magnitude
    epsilon: float  # distance from 1 to the next number
    allowance: int  # so many times the error of a naive implementation is accepted, if that is larger


TOLERANCES = {
    "float64": Precision(1e-10, 2.0**-52, 16),
    "float32": Precision(1e-5, 2.0**-23, 16),
    "tf32": Precision(2.0**-9, 2.0**-10, 2),  # float32 arrays, whose products round their factors
    "float16": Precision(2.0**-10, 2.0**-10, 2),
    "bfloat16": Precision(2.0**-7, 2.0**-7, 2),
}
#: For the ULP of an element, its magnitude counts as at least this fraction of the reference magnitude.
ULP_FLOOR = 1e-3


class Comparison(NamedTuple):
    """The difference of one tensor from the reference's."""

    max_abs: float  # max|got − ref|
    max_rel: float  # max_abs / reference magnitude, which must not exceed the tolerance
    ulp: float  # largest distance of an element in units of its last place, for information
    tolerance: float
    passed: bool
    reason: str = ""  # one clause that says why it failed


def tolerance(dtype: Any) -> float:
    """The largest ``max_rel`` that agrees in ``dtype``.

    >>> tolerance("float32")
    1e-05
    """
    return TOLERANCES[_name(dtype)].tolerance


def compare(
    reference: Any, got: Any, dtype: Any, *, plain_error: float = 0.0, stored: Any = None
) -> Comparison:
    """Compare ``got``, which should have ``dtype``, with the ``reference`` (any float dtype, best float64).

    ``stored`` is the dtype that ``got`` should have if it is not the one whose tolerance holds: beside maps of 16
    bits, vectors are float32.

    ``plain_error`` is the error of a naive implementation in ``dtype`` on the same inputs, relative to
    ``max|ref|``. Some results are ill-conditioned, such as a gradient that is zero except for rounding, and in
    float16 and bfloat16, whose tolerance is a single rounding, all of them are. So ``allowance`` times that error
    always agrees: if it is larger than the tolerance, the reference magnitude is larger by the same factor.

    A wrong shape, a wrong dtype, and a NaN or an infinity that the reference does not have at that element fail
    whatever the tolerance. ``ulp`` is taken element by element, in the spacing of ``dtype`` at the reference's
    value, for small ones at :data:`ULP_FLOOR`: the remainder of larger terms that cancelled has their rounding.

    >>> compare(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 2**-22], np.float32), "float32").ulp
    1.0
    >>> compare(np.zeros(3), np.zeros(2, np.float32), "float32").reason
    'has shape (2,) instead of (3,)'
    """
    reference, got = np.asarray(reference), np.asarray(got)
    if got.shape != reference.shape:
        return failure(dtype, f"has shape {got.shape} instead of {reference.shape}")
    if _name(got.dtype) != _name(stored or dtype):
        return failure(dtype, f"has dtype {got.dtype} instead of {_name(stored or dtype)}")

    wanted, given = reference.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(wanted)
    strays = int(np.sum(np.where(finite, ~np.isfinite(given), ~_same_non_finite(wanted, given))))
    if strays:
        return failure(dtype, f"differs in {strays} of {wanted.size} values that are NaN or infinite")

    error = np.abs(given[finite] - wanted[finite])
    magnitudes = np.abs(wanted[finite])
    precision = TOLERANCES[_name(dtype)]
    largest = float(magnitudes.max(initial=0.0)) or 1.0
    magnitude = largest * max(1.0, precision.allowance * plain_error / precision.tolerance)
    max_abs = float(error.max(initial=0.0))
    max_rel = max_abs / magnitude
    passed = max_rel <= precision.tolerance
    reason = "" if passed else f"is off by {max_abs / largest:.1e} of its largest value"
    ulp = _ulp(error, np.maximum(magnitudes, ULP_FLOOR * magnitude), precision.epsilon)
    return Comparison(max_abs, max_rel, ulp, precision.tolerance, passed, reason)


def failure(dtype: Any, reason: str) -> Comparison:
    """The comparison of tensors that cannot be compared: the error is infinite."""
    infinite = float("inf")
    return Comparison(infinite, infinite, infinite, tolerance(dtype), False, reason)


def _ulp(error: np.ndarray, magnitude: np.ndarray, epsilon: float) -> float:
    _, exponent = np.frexp(magnitude)  # magnitude = m · 2**exponent, ½ ≤ m < 1
    return float((error / np.ldexp(epsilon, exponent - 1)).max(initial=0.0))


def _same_non_finite(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    return (wanted == given) | (np.isnan(wanted) & np.isnan(given))


def _name(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else np.dtype(dtype).name
