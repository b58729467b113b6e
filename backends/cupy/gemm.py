"""Matrix products by cuBLAS."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np
from cupy.cuda import cublas
from cupy.cuda.device import get_cublas_handle

# Constants of library_types.h and cublas_api.h.
_NO_TRANSPOSE, _TRANSPOSE = 0, 1
_DEFAULT_ALGORITHM = -1
_COMPUTE_TF32 = 77


class _Kind(NamedTuple):
    """What cuBLAS wants to know about a dtype; the factors are addresses of numbers that stay alive below."""

    data_type: int
    compute_type: int
    zero: int
    one: int


_FACTORS = {np.dtype(name): np.array([0, 1], name) for name in ("float32", "float64")}
_KINDS = {
    dtype: _Kind(*types, _FACTORS[dtype].ctypes.data, _FACTORS[dtype].ctypes.data + dtype.itemsize)
    for dtype, types in ((np.dtype("float32"), (0, 68)), (np.dtype("float64"), (1, 70)))
}

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
    kind, compute_type, zero, one = _KINDS[a.dtype]
    if _tf32 and a.itemsize == 4:
        compute_type = _COMPUTE_TF32
    # cuBLAS is column-major: it sees our matrices transposed, and outᵀ = bᵀ·aᵀ.
    (op_a, lead_a), (op_b, lead_b) = _layout(a), _layout(b)
    cublas.gemmEx(
        get_cublas_handle(), op_b, op_a, n, m, k,
        one, b.data.ptr, kind, lead_b, a.data.ptr, kind, lead_a,
        one if accumulate else zero, out.data.ptr, kind, n, compute_type, _DEFAULT_ALGORITHM,
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
