"""A rectangle of a padded image, without padding the whole image."""

from __future__ import annotations

import numpy as np


def window(x: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Copy what ``x (B, H, W, C)`` shows from pixel ``(top, left)`` on; outside of it there are zeros.

    >>> x = np.ones((1, 2, 2, 1), np.int8)
    >>> window(x, -1, 0, 3, 3)[0, :, :, 0]
    array([[0, 0, 0],
           [1, 1, 0],
           [1, 1, 0]], dtype=int8)
    """
    seen = np.empty((len(x), height, width, x.shape[3]), x.dtype)
    first_row, end_row = _inside(top, height, x.shape[1])
    first_column, end_column = _inside(left, width, x.shape[2])
    rows = slice(first_row, end_row)
    seen[:, :first_row] = 0
    seen[:, end_row:] = 0
    seen[:, rows, :first_column] = 0
    seen[:, rows, end_column:] = 0
    seen[:, rows, first_column:end_column] = x[
        :, top + first_row : top + end_row, left + first_column : left + end_column
    ]
    return seen


def _inside(start: int, length: int, size: int) -> tuple[int, int]:
    """Which of the ``length`` pixels from ``start`` on lie in an image of ``size`` pixels."""
    first = min(max(0, -start), length)
    return first, max(first, min(length, size - start))
