"""How far two backends may differ: one table by dtype, shared by the tests and by ``segattn check``.

The yardstick of a tensor is its largest magnitude: an element that is small because large terms cancelled carries
their rounding, so its own relative error says nothing. A tensor agrees when

    max|got − ref| ≤ tolerance · yardstick,    yardstick = max|ref|, or 1 where the reference is zero everywhere.

Where even a plain implementation in the same dtype cannot be that exact, the yardstick is longer: see
:func:`compare`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Precision(NamedTuple):
    """What may be asked of one dtype."""

    tolerance: float  # of max|got − ref|, relative to the yardstick
    epsilon: float  # distance from 1 to the next number
    allowance: int  # how many times the error of a plain implementation is accepted, where that is the larger


TOLERANCES = {
    "float64": Precision(1e-10, 2.0**-52, 16),
    "float32": Precision(1e-5, 2.0**-23, 16),
    "tf32": Precision(2.0**-9, 2.0**-10, 2),  # float32 arrays, whose products round their factors
    "float16": Precision(2.0**-10, 2.0**-10, 2),
    "bfloat16": Precision(2.0**-7, 2.0**-7, 2),
}
#: Elements below this share of the yardstick are measured as if they were that large when ULP are counted.
ULP_FLOOR = 1e-3


class Comparison(NamedTuple):
    """How far one tensor is from the reference's."""

    max_abs: float  # max|got − ref|
    max_rel: float  # max_abs / yardstick: decides
    ulp: float  # largest distance of an element in units of its last place: informs
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

    ``stored`` is the dtype that ``got`` should have where it is another than the one whose tolerance holds: beside
    maps of 16 bits what has one value a channel is float32.

    ``plain_error`` is the error of a plain implementation in ``dtype`` on the same inputs, relative to
    ``max|ref|``. Some results are ill-conditioned, such as a gradient that is zero but for rounding, and in
    float16 and bfloat16, whose tolerance is a single rounding, all of them are; so ``allowance`` times that error
    always agrees: where it is beyond the tolerance, it makes the yardstick as much longer.

    A wrong shape, a wrong dtype, and a NaN or an infinity that the reference does not have at that very place
    fail whatever the tolerance. ``ulp`` is taken element by element, in the spacing of ``dtype`` at the reference's
    value, which for the smallest is set by :data:`ULP_FLOOR`: what is left of larger terms carries their rounding.

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

    wanted, found = reference.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(wanted)
    strays = int(np.sum(np.where(finite, ~np.isfinite(found), ~_same_non_finite(wanted, found))))
    if strays:
        return failure(dtype, f"differs in {strays} of {wanted.size} values that are NaN or infinite")

    error = np.abs(found[finite] - wanted[finite])
    magnitude = np.abs(wanted[finite])
    precision = TOLERANCES[_name(dtype)]
    largest = float(magnitude.max(initial=0.0)) or 1.0
    yardstick = largest * max(1.0, precision.allowance * plain_error / precision.tolerance)
    max_abs = float(error.max(initial=0.0))
    max_rel = max_abs / yardstick
    passed = max_rel <= precision.tolerance
    reason = "" if passed else f"is off by {max_abs / largest:.1e} of its largest value"
    ulp = _ulp(error, np.maximum(magnitude, ULP_FLOOR * yardstick), precision.epsilon)
    return Comparison(max_abs, max_rel, ulp, precision.tolerance, passed, reason)


def failure(dtype: Any, reason: str) -> Comparison:
    """What could not be compared at all: infinitely far apart."""
    infinite = float("inf")
    return Comparison(infinite, infinite, infinite, tolerance(dtype), False, reason)


def _ulp(error: np.ndarray, magnitude: np.ndarray, epsilon: float) -> float:
    _, exponent = np.frexp(magnitude)  # magnitude = m · 2**exponent, ½ ≤ m < 1
    return float((error / np.ldexp(epsilon, exponent - 1)).max(initial=0.0))


def _same_non_finite(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    return (wanted == found) | (np.isnan(wanted) & np.isnan(found))


def _name(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else np.dtype(dtype).name
