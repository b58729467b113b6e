"""Matrix products by cuBLAS."""

from __future__ import annotations

import cupy
import ml_dtypes
import numpy as np
from cupy.cuda import cublas
from cupy.cuda.device import get_cublas_handle

# Constants of library_types.h and cublas_api.h.
_NO_TRANSPOSE, _TRANSPOSE = 0, 1
_DEFAULT_ALGORITHM = -1
_COMPUTE_FLOAT, _COMPUTE_DOUBLE, _COMPUTE_TF32 = 68, 70, 77
_FLOAT, _DOUBLE, _HALF, _BFLOAT16 = 0, 1, 2, 14
_TYPES = {
    np.dtype(np.float32): _FLOAT,
    np.dtype(np.float64): _DOUBLE,
    np.dtype(np.float16): _HALF,
    np.dtype(ml_dtypes.bfloat16): _BFLOAT16,
}

#: 0 and 1 in the type to compute in; cuBLAS reads them from their address.
_FACTORS = {compute: np.array([0, 1], dtype) for compute, dtype in ((_FLOAT, "float32"), (_DOUBLE, "float64"))}
_ADDRESSES = {compute: (pair.ctypes.data, pair.ctypes.data + pair.itemsize) for compute, pair in _FACTORS.items()}

_tf32 = False


def allow_tf32(allowed: bool) -> None:
    """Set whether float32 products may round their factors to TF32 (10 bits of mantissa); at first they may not."""
    global _tf32
    _tf32 = allowed


def tf32_allowed() -> bool:
    return _tf32


def gemm(a: cupy.ndarray, b: cupy.ndarray, out: cupy.ndarray, *, accumulate: bool = False) -> cupy.ndarray:
    """``out = a·b``, or ``out += a·b``: ``(M, K)``, ``(K, N)`` → ``(M, N)``; sums are taken in float32 at least.

    ``a`` and ``b`` have one dtype, and so has ``out``, or float32 if theirs has 16 bits. ``a`` and ``b`` may be
    transposed views, and all three may be rows or columns of a larger matrix; nothing is copied. With a further
    axis in front, ``(B, M, K)`` and so on, B products are computed in one call.
    """
    m, k = a.shape[-2:]
    n = b.shape[-1]
    kind = _TYPES[a.dtype]
    if kind == _DOUBLE:
        compute, (zero, one) = _COMPUTE_DOUBLE, _ADDRESSES[_DOUBLE]
    else:
        compute, (zero, one) = _COMPUTE_FLOAT, _ADDRESSES[_FLOAT]
        if _tf32 and kind == _FLOAT:
            compute = _COMPUTE_TF32
    # cuBLAS is column-major, so our matrices are transposed to it: outᵀ = bᵀ·aᵀ.
    (op_a, *at_a), (op_b, *at_b), (_, *at_out) = _layout(a), _layout(b), _layout(out)
    common = get_cublas_handle(), op_b, op_a, n, m, k, one
    factors = b.data.ptr, kind, *at_b, a.data.ptr, kind, *at_a
    result = one if accumulate else zero, out.data.ptr, _TYPES[out.dtype], *at_out
    if a.ndim == 2:
        cublas.gemmEx(*common, *factors, *result, compute, _DEFAULT_ALGORITHM)
    else:
        cublas.gemmStridedBatchedEx(*common, *factors, *result, len(a), compute, _DEFAULT_ALGORITHM)
    return out


def _layout(matrix: cupy.ndarray) -> tuple[int, ...]:
    """Whether a row-major reader must transpose, and the distance of rows (or columns) in elements.

    For several matrices, the distance between them comes last.
    """
    size = matrix.itemsize
    rows, columns = matrix.shape[-2:]
    *apart, down, across = matrix.strides
    between = [stride // size for stride in apart]
    if across == size or columns == 1:
        return _NO_TRANSPOSE, max(down // size, columns), *between
    assert down == size or rows == 1, f"gemm: strides {matrix.strides} have no unit"
    return _TRANSPOSE, max(across // size, rows), *between
