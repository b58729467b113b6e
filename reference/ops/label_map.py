"""The labels that a network predicts, from its scores."""

from __future__ import annotations

import numpy as np

from reference.ops.checks import OpError, check_arrays

_MOST_CLASSES = 256


def label_map(scores: np.ndarray) -> np.ndarray:
    """The class with the highest score at each pixel. ::

        label = argmax_k score_k

    On a tie the first wins; a NaN wins over every number. The op has no derivative and no cache.

    Shapes: ``scores (…, K)`` of any floating dtype, at most 256 classes → ``(…)`` uint8. Raises :class:`OpError`.

    >>> label_map(np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]]))
    array([1, 0], dtype=uint8)
    """
    check_arrays("label_map", scores=(scores, "... K"))
    check_classes(scores.shape[-1])
    return scores.argmax(axis=-1).astype(np.uint8)


def check_classes(classes: int) -> None:
    """Check that a label fits into a byte."""
    if classes > _MOST_CLASSES:
        raise OpError(f"label_map: scores have {classes} classes, want at most {_MOST_CLASSES}.")
