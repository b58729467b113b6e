"""log of numbers from 1 on, in float32 in a form that the compiler vectorises, in float64 the usual one."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from backends.numba.exp import bits_of_float, float_of_bits

#: The bits of √½: the mantissa of a number divided by its power of 2 lies between √½ and √2.
_ROOT_OF_HALF = np.int32(np.float32(math.sqrt(0.5)).view(np.int32))
_LN2, _HALF, _ONE = np.float32(math.log(2)), np.float32(0.5), np.float32(1)
#: log(1 + f) ≈ f − f²/2 + f³·polynomial(f): the coefficients of logf in Moshier's Cephes library.
_P_0, _P_1, _P_2 = np.float32(7.0376836292e-2), np.float32(-1.1514610310e-1), np.float32(1.1676998740e-1)
_P_3, _P_4, _P_5 = np.float32(-1.2420140846e-1), np.float32(1.4249322787e-1), np.float32(-1.6668057665e-1)
_P_6, _P_7, _P_8 = np.float32(2.0000714765e-1), np.float32(-2.4999993993e-1), np.float32(3.3333331174e-1)


def log_from_one(x):
    """``log(x)`` for finite ``x ≥ 1`` inside compiled loops, float32 to a relative error of 3e-7; NaN for NaN."""
    return math.log(x)


@overload(log_from_one, inline="always")
def _log_of_dtype(x):
    return _log_float32 if x == types.float32 else _log_float64


def _log_float64(x):
    return math.log(x)


def _log_float32(x):
    """``log(x) = n·ln 2 + log(1 + f)`` with x = 2ⁿ·(1 + f)."""
    bits: int = bits_of_float(x)
    n = np.int32(np.int32(bits - _ROOT_OF_HALF) >> np.int32(23))
    f = float_of_bits(np.int32(bits - np.int32(n << np.int32(23)))) - _ONE
    low = (((_P_0 * f + _P_1) * f + _P_2) * f + _P_3) * f + _P_4
    p = (((low * f + _P_5) * f + _P_6) * f + _P_7) * f + _P_8
    value = np.float32(n) * _LN2 + (f - _HALF * f * f + p * f * f * f)
    return value if x == x else x
