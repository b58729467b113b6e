"""The checks of :mod:`reference.ops.checks`, and of what our kernels can read."""

from __future__ import annotations

from typing import Any

import cupy
import ml_dtypes
import numpy as np

from backends.precision import vector_dtype
from reference.ops.checks import OpError, check_arrays, check_gradient, is_vector
from reference.ops.softmax_cross_entropy import check_label_shape

#: The dtypes of the kernels → their types in CUDA C++.
C_TYPES = {
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
    np.dtype(np.float16): "__half",
    np.dtype(ml_dtypes.bfloat16): "__nv_bfloat16",
}

#: Bytes that a thread reads at once.
ALIGNMENT = 16


def checked(op: str, **arrays: tuple[Any, str]) -> list[Any]:
    """Check the arrays as ``check_arrays`` does and return them :func:`readable`, None for those left out.

    A vector beside float16 or bfloat16 maps is returned as float32. Shapes and dtypes that have passed are not
    checked again: a step has hundreds of calls with the same ones.
    """
    given = [array for array, _ in arrays.values()]
    signature = (op, *[array if array is None else (type(array), *_signature(array)) for array in given])
    if signature not in _passed:
        _check(op, arrays)
        if len(_passed) == _REMEMBERED:  # images of very many sizes
            _passed.clear()
        _passed.add(signature)
    maps = given[0].dtype
    return [array if array is None else _ready(array, axes, maps) for array, axes in arrays.values()]


_REMEMBERED = 10_000
_passed: set[tuple[Any, ...]] = set()


def _check(op: str, arrays: dict[str, tuple[Any, str]]) -> None:
    check_arrays(op, **arrays)
    for name, (array, _) in arrays.items():
        if array is None:
            continue
        _check_on_device(op, name, array)
        if array.dtype not in C_TYPES:
            raise OpError(f"{op}: {name} is {array.dtype}, wants {' or '.join(map(str, C_TYPES))}.")


def _signature(array: Any) -> tuple[Any, ...]:
    return getattr(array, "shape", None), getattr(array, "dtype", None)


def _ready(array: cupy.ndarray, axes: str, maps: np.dtype) -> cupy.ndarray:
    if is_vector(axes):
        array = array.astype(vector_dtype(maps), copy=False)
    return readable(array)


def readable(array: cupy.ndarray) -> cupy.ndarray:
    """``array``, or a copy that is contiguous and begins at a multiple of :data:`ALIGNMENT`, as CuPy's memory does.

    Kernels and cuDNN read several values at once. A GPU that reads them elsewhere ends all work of the process.
    """
    if not array.flags.c_contiguous:
        return cupy.ascontiguousarray(array)
    return array if array.data.ptr % ALIGNMENT == 0 else array.copy()


def checked_gradient(op: str, dy: Any, shape: tuple[int, ...], dtype: Any) -> cupy.ndarray:
    """Check ``dy`` as ``check_gradient`` does and return it :func:`readable`."""
    check_gradient(op, dy, shape, dtype)
    _check_on_device(op, "dy", dy)
    return readable(dy)


def checked_labels(op: str, labels: Any, shape: tuple[int, ...]) -> cupy.ndarray:
    """Labels as int32, of ``shape``; their values are not checked, which would wait for the device."""
    check_label_shape(op, labels, shape)
    _check_on_device(op, "labels", labels)
    return cupy.ascontiguousarray(labels, dtype=cupy.int32)


def _check_on_device(op: str, name: str, array: Any) -> None:
    if not isinstance(array, cupy.ndarray):
        kind = type(array).__module__
        raise OpError(f"{op}: {name} is a {kind} array, wants one on the device: asarray makes one.")
