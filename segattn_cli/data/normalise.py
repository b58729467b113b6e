"""Normalisation of images by ImageNet's mean and standard deviation of RGB in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
#: The same as a product and a difference: ``x · FACTOR − OFFSET``.
FACTOR, OFFSET = 1 / (255 * IMAGENET_STD), IMAGENET_MEAN / IMAGENET_STD


def normalise(image: Any, factor: Any = FACTOR, offset: Any = OFFSET) -> Any:
    """``(x / 255 − mean) / std``: ``(…, H, W, 3)`` uint8 to float32 of the same shape.

    An image that is an array of a backend needs :data:`FACTOR` and :data:`OFFSET` as such arrays.

    >>> normalise(np.full((1, 1, 3), 255, np.uint8)).round(2)
    array([[[2.25, 2.43, 2.64]]], dtype=float32)
    """
    normalised = image.astype(np.float32)
    normalised *= factor
    normalised -= offset
    return normalised
