"""The squared L2 norm of a list of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sum_of_squares(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """``Σ x²`` over all values of all arrays, in float64: of gradients, the square of their norm as one vector.

    Shapes: any, of any floating dtypes → ``()`` float64. It is not finite if any value is not.

    >>> sum_of_squares([np.array([3.0, 0.0], np.float32), np.array(4.0)])
    array(25.)
    """
    return np.asarray(sum((np.sum(np.square(x, dtype=np.float64)) for x in arrays), np.float64(0)))
