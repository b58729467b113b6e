"""The labels that a network predicts, from its scores."""

from __future__ import annotations

import cupy
import numpy as np

from backends.cupy.checks import checked
from backends.cupy.launch import c_type, launch
from reference.ops.label_map import check_classes


def label_map(scores: cupy.ndarray) -> cupy.ndarray:
    """The class with the highest score, ``(…, K)`` → ``(…)`` uint8."""
    (scores,) = checked("label_map", scores=(scores, "... K"))
    check_classes(scores.shape[-1])
    labels = cupy.empty(scores.shape[:-1], np.uint8)
    pixels, classes = labels.size, scores.shape[-1]
    launch(
        "softmax.cu", f"label_map<{c_type(scores)}>", (-(-pixels // 256),), (256,), scores, labels, pixels, classes
    )
    return labels
