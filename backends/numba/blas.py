"""Matrix products inside compiled loops: the BLAS of SciPy, called at its address.

``np.dot`` in compiled code takes neither rows of a wider matrix nor a result to add to; gemm takes both.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numba import types
from numba.extending import get_cython_function_address

from backends.numpy.threads import blas_libraries

for _name in ("sgemm", "dgemm"):
    llvmlite.binding.add_symbol(f"segattn_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
blas_libraries.cache_clear()  # there is one more now

_POINTERS: Any = types.void(*[types.uintp] * 13)
_sgemm: Any = types.ExternalFunction("segattn_sgemm", _POINTERS)
_dgemm: Any = types.ExternalFunction("segattn_dgemm", _POINTERS)


@numba.njit(cache=True, error_model="numpy")
def multiply(a, b, c, add):
    """``c = a·b``, or ``c += a·b`` to ``add``, for ``a (M, K)``, ``b (K, N)``, ``c (M, N)``.

    ``a`` and ``b`` have rows that lie whole in memory, or columns (a transposed view); ``c`` has rows. All are
    float32 or all float64.
    """
    # BLAS counts in columns: it is asked for cᵀ = bᵀ·aᵀ.
    item = c.itemsize
    b_turned, b_step = _layout(b, item)
    a_turned, a_step = _layout(a, item)
    codes = np.array([b_turned, a_turned], np.uint8)
    sizes = np.array([b.shape[1], a.shape[0], a.shape[1], b_step, a_step, max(c.strides[0] // item, 1)], np.int32)
    factors = np.array([1, add], c.dtype)  # alpha, beta
    code, size, factor = codes.ctypes.data, sizes.ctypes.data, factors.ctypes.data
    arguments = (
        code, code + 1, size, size + 4, size + 8, factor, b.ctypes.data, size + 12, a.ctypes.data, size + 16,
        factor + item, c.ctypes.data, size + 20,
    )  # fmt: skip
    if item == 4:
        _sgemm(*arguments)
    else:
        _dgemm(*arguments)


@numba.njit(cache=True)
def _layout(x, item):
    """Whether ``x`` lies in memory by columns, as BLAS's letter, and the step between its rows or columns."""
    if x.strides[1] == item or x.shape[1] == 1:
        return ord("N"), max(x.strides[0] // item, x.shape[1])
    return ord("T"), max(x.strides[1] // item, x.shape[0])
