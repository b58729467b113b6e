"""Running averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def move_towards(
    targets: Sequence[np.ndarray], sources: Sequence[np.ndarray], weights: Sequence[float], *, apply: Any = True
) -> None:
    """Move each target towards its source, **in place**. ::

        target ← (1 − weight)·target + weight·source

    ``weights`` holds one number for each pair. If ``apply``, which may be an array ``()``, is false, nothing
    changes, whatever the sources hold.

    >>> mean = np.array([0.0, 4.0])
    >>> move_towards([mean], [np.array([10.0, 4.0])], [0.1])
    >>> mean
    array([1., 4.])
    """
    if not apply:
        return
    for target, source, weight in zip(targets, sources, weights, strict=True):
        target *= 1 - weight
        target += weight * source.astype(target.dtype, copy=False)
