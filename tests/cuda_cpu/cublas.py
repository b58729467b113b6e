"""The stand-in's cuBLAS: matrices are addresses, column after column, as in the library."""

from __future__ import annotations

import ctypes

import ml_dtypes
import numpy as np

from .device_memory import DeviceError, memory_of

# library_types.h
_DTYPES = {0: np.dtype("float32"), 1: np.dtype("float64"), 2: np.dtype("float16"), 14: np.dtype(ml_dtypes.bfloat16)}
# cublas_api.h
_COMPUTE = {68: np.dtype("float32"), 70: np.dtype("float64"), 77: np.dtype("float32")}
_TF32 = 77
#: What gemmEx takes, of what this backend needs: compute type, of the factors, of the result.
_COMBINATIONS = {
    (68, 0, 0), (68, 2, 2), (68, 2, 0), (68, 14, 14), (68, 14, 0), (70, 1, 1), (77, 0, 0),
}  # fmt: skip


def gemmEx(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int,
    b: int, b_type: int, ldb: int, beta: int, c: int, c_type: int, ldc: int, compute: int, algorithm: int,
) -> None:  # fmt: skip
    """``C = alpha·op(A)·op(B) + beta·C`` with ``C (m, n)``, ``op(A) (m, k)`` and ``op(B) (k, n)``."""
    if a_type != b_type or (compute, a_type, c_type) not in _COMBINATIONS:
        raise DeviceError(f"gemmEx: computes no type {c_type} from {a_type} and {b_type} in {compute}.")
    factor = _COMPUTE[compute]
    left = _matrix("A", a, _DTYPES[a_type], (k, m) if transa else (m, k), lda)
    right = _matrix("B", b, _DTYPES[b_type], (n, k) if transb else (k, n), ldb)
    result = _matrix("C", c, _DTYPES[c_type], (m, n), ldc)
    for name, other in (("A", left), ("B", right)):
        if np.may_share_memory(result, other):
            raise DeviceError(f"gemmEx: C overlaps {name}.")
    left, right = (_factor(x, factor, compute) for x in (left.T if transa else left, right.T if transb else right))
    with np.errstate(all="ignore"):  # a device does not warn
        product = _scalar(alpha, factor) * (left @ right)
        if scale := _scalar(beta, factor):  # else C is not read, whatever it holds
            product += scale * result.astype(factor)
        result[...] = product.astype(result.dtype)


def gemmStridedBatchedEx(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
    a: int, a_type: int, lda: int, a_stride: int, b: int, b_type: int, ldb: int, b_stride: int,
    beta: int, c: int, c_type: int, ldc: int, c_stride: int, count: int, compute: int, algorithm: int,
) -> None:  # fmt: skip
    """``count`` products; strides are the distances of their matrices in elements."""
    if count > 1 and c_stride < (n - 1) * ldc + m:
        raise DeviceError(f"gemmStridedBatchedEx: results of {m} x {n} overlap, {c_stride} apart.")
    for number in range(count):
        at_a, at_b, at_c = (
            address + number * stride * _DTYPES[kind].itemsize
            for address, stride, kind in ((a, a_stride, a_type), (b, b_stride, b_type), (c, c_stride, c_type))
        )
        gemmEx(
            handle, transa, transb, m, n, k, alpha, at_a, a_type, lda, at_b, b_type, ldb, beta, at_c, c_type, ldc,
            compute, algorithm,
        )  # fmt: skip


def _matrix(name: str, address: int, dtype: np.dtype, shape: tuple[int, int], leading: int) -> np.ndarray:
    """The columns of a matrix of ``shape``, ``leading`` elements apart."""
    rows, columns = shape
    who = f"gemmEx: {name} of {rows} rows and {columns} columns"
    if min(shape) < 1 or leading < rows:
        raise DeviceError(f"{who} has the leading dimension {leading}.")
    if address % dtype.itemsize:
        raise DeviceError(f"{who} has an address that is no multiple of {dtype.itemsize}.")
    size = ((columns - 1) * leading + rows) * dtype.itemsize
    memory = memory_of(address, size, who)
    start = address - memory.address
    values = memory.bytes[start : start + size].view(dtype)
    strides = (dtype.itemsize, leading * dtype.itemsize)
    return np.lib.stride_tricks.as_strided(values, shape, strides)


def _factor(matrix: np.ndarray, dtype: np.dtype, compute: int) -> np.ndarray:
    matrix = matrix.astype(dtype)
    if compute == _TF32:  # 10 bits of mantissa, of 23
        bits = matrix.view(np.uint32)
        bits += 0x0FFF + (bits >> 13 & 1)  # to the nearest, ties to even
        bits &= 0xFFFFE000
    return matrix


def _scalar(address: int, dtype: np.dtype) -> np.floating:
    """A number in the host's memory."""
    number: np.floating = np.frombuffer(ctypes.string_at(address, dtype.itemsize), dtype)[0]
    return number
