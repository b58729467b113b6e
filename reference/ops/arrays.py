"""How arrays get into a backend, out of it, and next to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reference.ops.checks import check_arrays


def asarray(x: Any, dtype: Any = None) -> np.ndarray:
    """Make ``x`` an array, of ``dtype`` where one is given.

    Otherwise arrays keep theirs, integers and booleans stay what they are, and Python's floats become float32.

    >>> asarray([1, 2]).dtype.kind, asarray([1.5, 2]).dtype, asarray(np.zeros(2)).dtype
    ('i', dtype('float32'), dtype('float64'))
    """
    array = np.asarray(x, dtype)
    if dtype is None and not hasattr(x, "dtype") and array.dtype.kind == "f":
        return array.astype(np.float32)
    return array


def to_numpy(x: np.ndarray) -> np.ndarray:
    """Give back a NumPy array; here that is what ``x`` is."""
    return np.asarray(x)


def synchronize() -> None:
    """Wait until all computation is done; NumPy never leaves any running."""


def concatenate(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Join ``(…, C_1)``, ``(…, C_2)``, … along the channels to ``(…, C_1 + C_2 + …)``.

    >>> concatenate([np.zeros((1, 2, 3)), np.ones((1, 2, 4))]).shape
    (1, 2, 7)
    """
    check_arrays("concatenate", **{f"arrays[{n}]": (array, f"... C_{n + 1}") for n, array in enumerate(arrays)})
    return np.concatenate(arrays, axis=-1)


def stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Put S arrays of one shape ``(…)`` on top of each other: ``(S, …)``.

    >>> stack([np.zeros((1, 2)), np.ones((1, 2))]).shape
    (2, 1, 2)
    """
    check_arrays("stack", **{f"arrays[{n}]": (array, "...") for n, array in enumerate(arrays)})
    return np.stack(arrays)
