"""The dtypes of a network in each precision: maps and weights have its dtype, vectors stay float32."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from reference.ops.checks import HALVES

Array = Any


def array_dtype(precision: str) -> np.dtype:
    """The dtype of maps, tokens and weights: ``tf32`` rounds in products only, its arrays are float32.

    >>> array_dtype("tf32"), array_dtype("float16")
    (dtype('float32'), dtype('float16'))
    """
    if precision == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype("float32" if precision == "tf32" else precision)


@cache
def vector_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of vectors (one value a channel) and of scalars beside maps of ``dtype``.

    Backends also accumulate in it: float32 beside float16 and bfloat16, else ``dtype`` itself.

    >>> vector_dtype(np.dtype("float16")), vector_dtype(np.dtype("float64"))
    (dtype('float32'), dtype('float64'))
    """
    return np.dtype(np.float32) if dtype.name in HALVES else dtype


def cast(array: Array, dtype: np.dtype) -> Array:
    """``array`` in the dtype that it has beside maps of ``dtype``; integers and None do not change.

    >>> half = np.dtype("float16")
    >>> cast(np.ones((2, 3)), half).dtype, cast(np.ones(3), half).dtype, cast(np.ones(3, int), half).dtype
    (dtype('float16'), dtype('float32'), dtype('int64'))
    """
    if not is_floating(array):
        return array
    return array.astype(dtype if array.ndim > 1 else vector_dtype(dtype))


def is_floating(array: Any) -> bool:
    """Whether ``array`` has a floating dtype; of bfloat16, NumPy does not say so."""
    return hasattr(array, "dtype") and (array.dtype.kind == "f" or array.dtype.name == "bfloat16")


def cast_weights(params: Mapping[str, Array], dtype: np.dtype) -> dict[str, Array]:
    """Weights, which have two axes or more, in ``dtype``; vectors and gates do not change.

    >>> params = {"conv.weight": np.ones((1, 1, 3, 8), "float32"), "conv.bias": np.ones(8, "float32")}
    >>> {name: value.dtype.name for name, value in cast_weights(params, np.dtype("float16")).items()}
    {'conv.weight': 'float16', 'conv.bias': 'float32'}
    """
    return {
        name: value.astype(dtype) if value.ndim > 1 and value.dtype != dtype else value
        for name, value in params.items()
    }
