"""Matrix products by cuBLAS."""

from __future__ import annotations

import cupy
import numpy as np
from cupy.cuda.device import get_cublas_handle
from cupy_backends.cuda.libs import cublas

# Constants of library_types.h and cublas_api.h.
_DATA_TYPE = {"float32": 0, "float64": 1}
_COMPUTE_TYPE = {"float32": 68, "float64": 70}
_COMPUTE_TF32 = 77
_NO_TRANSPOSE, _TRANSPOSE = 0, 1
_DEFAULT_ALGORITHM = -1

_ZERO = {name: np.zeros(1, name) for name in _DATA_TYPE}
_ONE = {name: np.ones(1, name) for name in _DATA_TYPE}

_tf32 = False


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products may round their factors to TF32 (10 bits of mantissa): off at first."""
    global _tf32
    _tf32 = allowed


def gemm(a: cupy.ndarray, b: cupy.ndarray, out: cupy.ndarray, *, accumulate: bool = False) -> cupy.ndarray:
    """``out = a·b``, or ``out += a·b``: ``(M, K)``, ``(K, N)`` → ``(M, N)``, of one dtype, out contiguous.

    ``a`` and ``b`` may be transposed views, and rows or columns cut from a larger matrix; nothing is copied.
    """
    (m, k), n = a.shape, b.shape[1]
    dtype = a.dtype.name
    compute = _COMPUTE_TF32 if _tf32 and dtype == "float32" else _COMPUTE_TYPE[dtype]
    # cuBLAS is column-major: it sees our matrices transposed, and outᵀ = bᵀ·aᵀ.
    (op_a, lead_a), (op_b, lead_b) = _layout(a), _layout(b)
    alpha, beta = _ONE[dtype], (_ONE if accumulate else _ZERO)[dtype]
    kind = _DATA_TYPE[dtype]
    cublas.gemmEx(
        get_cublas_handle(), op_b, op_a, n, m, k,
        alpha.ctypes.data, b.data.ptr, kind, lead_b, a.data.ptr, kind, lead_a,
        beta.ctypes.data, out.data.ptr, kind, n, compute, _DEFAULT_ALGORITHM,
    )
    return out


def _layout(matrix: cupy.ndarray) -> tuple[int, int]:
    """Whether a row-major reader must transpose, and the distance between its rows (or columns) in elements."""
    rows, columns = matrix.shape
    down, across = (stride // matrix.itemsize for stride in matrix.strides)
    if across == 1 or columns == 1:
        return _NO_TRANSPOSE, max(down, columns)
    assert down == 1 or rows == 1, f"gemm: strides {matrix.strides} have no unit"
    return _TRANSPOSE, max(across, rows)
