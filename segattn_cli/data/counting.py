"""How often each value is in a label map."""

from __future__ import annotations

import numpy as np


def count_values(label: np.ndarray, values: int = 256) -> np.ndarray:
    """The number of pixels of each value below ``values`` in ``label`` (H, W) uint8: ``(values,)`` int64.

    Row by row, since ``np.bincount`` copies what it counts as 64-bit integers.

    >>> count_values(np.array([[0, 2], [2, 2]], np.uint8), 4).tolist()
    [1, 0, 3, 0]
    """
    counts = np.zeros(values, np.int64)
    for row in label:
        counts += np.bincount(row, minlength=values)
    return counts
