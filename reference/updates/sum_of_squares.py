"""How long several arrays are together, as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sum_of_squares(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """``Σ x²`` over all values of all arrays, taken in double: the square of the norm of a whole gradient.

    Shapes: any, of any floating dtypes → ``()`` float64. Infinite or NaN where any value is.

    >>> sum_of_squares([np.array([3.0, 0.0], np.float32), np.array(4.0)])
    array(25.)
    """
    return np.asarray(sum((np.sum(np.square(x, dtype=np.float64)) for x in arrays), np.float64(0)))
