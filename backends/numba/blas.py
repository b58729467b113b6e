"""Matrix products inside compiled loops: the BLAS of SciPy, called by its address.

``np.dot`` in compiled code accepts neither rows of a wider matrix nor a result to add to; gemm accepts both.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any

import llvmlite.binding
import numpy as np
import scipy
from numba import types
from numba.extending import get_cython_function_address, register_jitable

from backends.numpy.threads import blas_libraries


def _import_table() -> None:
    """Import SciPy's table of BLAS functions without the rest of scipy.linalg, which takes a tenth of a second."""
    name = "scipy.linalg.cython_blas"
    spec = PathFinder.find_spec("cython_blas", [f"{path}/linalg" for path in scipy.__path__])
    if name not in sys.modules and spec is not None and spec.loader is not None:
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


_import_table()
for _name in ("sgemm", "dgemm"):
    llvmlite.binding.add_symbol(f"segattn_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
blas_libraries.cache_clear()  # SciPy's has been loaded since

_POINTERS: Any = types.void(*[types.uintp] * 13)
_sgemm: Any = types.ExternalFunction("segattn_sgemm", _POINTERS)
_dgemm: Any = types.ExternalFunction("segattn_dgemm", _POINTERS)


@register_jitable(error_model="numpy")
def multiply(a, b, c, add):
    """``c = a·b``, or with ``add`` ``c += a·b``, for ``a (M, K)``, ``b (K, N)``, ``c (M, N)``.

    The rows of ``c`` are contiguous, as are the rows of ``a`` and ``b`` or their columns (of a transposed view).
    All are float32 or all float64.
    """
    # BLAS is column-major: it computes cᵀ = bᵀ·aᵀ.
    item = c.itemsize
    b_transposed, b_step = _layout(b, item)
    a_transposed, a_step = _layout(a, item)
    codes = np.array([b_transposed, a_transposed], np.uint8)
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


@register_jitable
def _layout(x, item):
    """BLAS's letter for whether ``x`` is stored by columns, and the step between its rows or columns."""
    if x.strides[1] == item or x.shape[1] == 1:
        return ord("N"), max(x.strides[0] // item, x.shape[1])
    return ord("T"), max(x.strides[1] // item, x.shape[0])
