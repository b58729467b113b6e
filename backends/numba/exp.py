"""exp of numbers up to 0, in float32 in a form that the compiler vectorises, in float64 the usual one."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

_LOG2_E, _LN2 = np.float32(1.44269504), math.log(2)
#: exp(r) ≈ 1 + r + r²·polynomial(r) for |r| ≤ ln 2 / 2: the coefficients of expf in Moshier's Cephes library.
_P_0, _P_1, _P_2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P_3, _P_4, _P_5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_LEAST = np.float32(-87.3)  # below, the result is 0: the exact one is no normal float32


def exp_up_to_zero(x):
    """``exp(x)`` for ``x ≤ 0`` inside compiled loops, float32 with a relative error below 3e-7; NaN for NaN."""
    return math.exp(x)


@intrinsic
def _float_of_bits(typingctx, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@overload(exp_up_to_zero, inline="always")
def _exp_of_dtype(x):
    return _exp_float32 if x == types.float32 else _exp_float64


def _exp_float64(x):
    return math.exp(x)


def _exp_float32(x):
    bounded = x if x > _LEAST else _LEAST
    n = np.floor(bounded * _LOG2_E + _HALF)
    r = np.float32(np.float64(bounded) - np.float64(n) * _LN2)
    p = ((((_P_0 * r + _P_1) * r + _P_2) * r + _P_3) * r + _P_4) * r + _P_5
    power: float = _float_of_bits(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))  # type: ignore[call-arg]  # 2ⁿ
    value = _ZERO if x < _LEAST else (p * r * r + r + _ONE) * power
    return value if x == x else x
