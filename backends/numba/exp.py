"""exp of numbers up to 0, in float32 in a form that the compiler vectorises, in float64 the usual one."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from backends.numba.intrinsic import intrinsic

_LOG2_E = np.float32(math.log2(math.e))
#: ln 2 as a sum: its first 24 bits, and the next.
_LN2 = np.float32(math.log(2))
_LN2_REST = np.float32(math.log(2) - float(_LN2))
#: exp(r) ≈ 1 + r + r²·polynomial(r) for |r| ≤ ln 2 / 2: the coefficients of expf in Moshier's Cephes library.
_P_0, _P_1, _P_2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P_3, _P_4, _P_5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE = np.float32(1)
#: −127·ln 2. From about here on downwards the result is 0: the exact one is no normal float32.
_LEAST = np.float32(-127 * math.log(2))
#: 1.5·2²³: a float32 of this size has no bits for fractions, and a small integer added to it is in its lowest bits.
_SHIFT = np.float32(3 << 22)


def exp_up_to_zero(x):
    """``exp(x)`` for ``x ≤ 0`` inside compiled loops, float32 with a relative error below 2e-7; NaN for NaN."""
    return math.exp(x)


@intrinsic
def _fma(typingctx, a, b, c):
    """``a·b + c``, rounded once, whatever the compiler may reorder around it."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@intrinsic
def bits_of_float(typingctx, x):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.int32))

    return types.int32(types.float32), generate


@intrinsic
def float_of_bits(typingctx, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@overload(exp_up_to_zero, inline="always")
def _exp_of_dtype(x):
    return _exp_float32 if x == types.float32 else _exp_float64


def _exp_float64(x):
    return math.exp(x)


def _exp_float32(x):
    """By the method of Cody and Waite: ``exp(x) = 2ⁿ·exp(r)`` with n = x / ln 2, rounded, and r = x − n·ln 2."""
    bounded = max(x, _LEAST)  # NaN stays NaN
    shifted: float = _fma(bounded, _LOG2_E, _SHIFT)
    n = shifted - _SHIFT
    r = _fma(-n, _LN2_REST, _fma(-n, _LN2, bounded))
    p = ((((_P_0 * r + _P_1) * r + _P_2) * r + _P_3) * r + _P_4) * r + _P_5
    exponent = np.int32(bits_of_float(shifted) + np.int32(127))  # n + 127 in its lowest bits, at least 0
    return (p * r * r + r + _ONE) * float_of_bits(np.int32(exponent << np.int32(23)))
