"""Arrays: into a backend, out of it, and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reference.ops.checks import check_arrays


def asarray(x: Any, dtype: Any = None) -> np.ndarray:
    """``x`` as an array, of ``dtype`` if one is given.

    Otherwise an array's dtype does not change; Python's integers and booleans stay such, its floats become float32.

    >>> asarray([1, 2]).dtype.kind, asarray([1.5, 2]).dtype, asarray(np.zeros(2)).dtype
    ('i', dtype('float32'), dtype('float64'))
    """
    array = np.asarray(x, dtype)
    if dtype is None and not hasattr(x, "dtype") and array.dtype.kind == "f":
        return array.astype(np.float32)
    return array


def to_numpy(x: np.ndarray) -> np.ndarray:
    """``x`` as a NumPy array, which in this backend it is already."""
    return np.asarray(x)


def synchronize() -> None:
    """Wait until all computation is done; NumPy computes at once, so there is nothing to wait for."""


def constants(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same parameters, which do not change as long as the result is used: those of a network that predicts.

    A backend may store beside them what its ops derive from them in each call. Here nothing is derived.

    >>> params = {"gate": np.ones(1)}
    >>> constants(params)["gate"] is params["gate"]
    True
    """
    return dict(params)


def concatenate(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Join ``(…, C_1)``, ``(…, C_2)``, … along the channels to ``(…, C_1 + C_2 + …)``.

    >>> concatenate([np.zeros((1, 2, 3)), np.ones((1, 2, 4))]).shape
    (1, 2, 7)
    """
    check_arrays("concatenate", **{f"arrays[{n}]": (array, f"... C_{n + 1}") for n, array in enumerate(arrays)})
    return np.concatenate(arrays, axis=-1)


def stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Join S arrays of one shape ``(…)`` along a new first axis: ``(S, …)``.

    >>> stack([np.zeros((1, 2)), np.ones((1, 2))]).shape
    (2, 1, 2)
    """
    check_arrays("stack", **{f"arrays[{n}]": (array, "...") for n, array in enumerate(arrays)})
    return np.stack(arrays)
