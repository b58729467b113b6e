"""In which dtype a network computes, and what of it stays float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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


def cast_weights(params: Mapping[str, Array], dtype: np.dtype) -> dict[str, Array]:
    """Weights, which have two axes or more, in ``dtype``; what has one value a channel, and gates, as they are.

    >>> params = {"conv.weight": np.ones((1, 1, 3, 8), "float32"), "conv.bias": np.ones(8, "float32")}
    >>> {name: value.dtype.name for name, value in cast_weights(params, np.dtype("float16")).items()}
    {'conv.weight': 'float16', 'conv.bias': 'float32'}
    """
    return {
        name: value.astype(dtype) if value.ndim > 1 and value.dtype != dtype else value
        for name, value in params.items()
    }
