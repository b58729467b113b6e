"""Random changes of the colours of an image, as one affine map of red, green and blue."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from segattn_cli.data.normalise import IMAGENET_MEAN

#: The colour that images are padded with: normalised, it is about 0.
MEAN_COLOUR = (IMAGENET_MEAN * 255).round().astype(np.uint8)


class ColourLimits(NamedTuple):
    """The largest change of each part in either direction, at strength 1."""

    brightness: float  # added, of 255
    contrast: float  # added to the factor 1
    saturation: float  # added to the factor 1
    hue: float  # in radians


def colour_matrix(
    rng: np.random.Generator, strength: float, limits: ColourLimits, probability: float = 1.0
) -> tuple[float, ...]:
    """Contrast, saturation, hue and brightness in one affine map of RGB, as Pillow's twelve numbers.

    ``x' = m + contrast · S · R · (x − m) + brightness`` with the mean colour m, S a blend of the image and its luma
    (BT.601), and R a rotation around the axis of greys. Each of the four changes is drawn uniformly within
    ``strength`` times its limit, and is made with ``probability``.

    >>> colour_matrix(np.random.default_rng(0), 1.0, ColourLimits(0, 0, 0, 0))
    (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    """
    changes = rng.uniform(-strength, strength, 4) * limits
    if probability < 1:
        changes *= rng.random(4) < probability
    brightness, contrast, saturation, hue = changes
    luma = np.array([0.299, 0.587, 0.114])
    saturate = (1 + saturation) * np.eye(3) - saturation * luma  # rows sum to 1: greys stay
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # x ↦ (1, 1, 1)/√3 × x
    rotate = np.eye(3) + math.sin(hue) * across + (1 - math.cos(hue)) * (across @ across)  # Rodrigues
    matrix = (1 + contrast) * saturate @ rotate
    offset = brightness + MEAN_COLOUR - matrix @ MEAN_COLOUR
    return tuple(np.column_stack([matrix, offset]).ravel().tolist())
