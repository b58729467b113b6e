"""Random variations of an image and its mask: scale, crop, flip, colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from segattn_cli.data.dataset import IGNORE_LABEL
from segattn_cli.data.normalise import IMAGENET_MEAN

#: The colour that images are padded with: normalised, it is about 0.
MEAN_COLOUR = (IMAGENET_MEAN * 255).round().astype(np.uint8)
_TRIES = 10  # crops drawn for `cat_max_ratio` before the last one is taken


Positive = Annotated[float, Field(gt=0)]
Pixels = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How training images are varied at random.

    Args:
        scale: smallest and largest factor by which the image is resized before it is cropped.
        crop: height and width of the crop. Parts of it outside the image are filled with ImageNet's mean, and with
            the ignored label in the mask.
        flip: probability of a left-right flip.
        photometric: strength of the changes to the colours: at 1, brightness changes by up to ±32 (of 255),
            contrast and saturation by factors from 0.5 to 1.5, hue by up to ±18°; 0 changes nothing.
        cat_max_ratio: largest fraction of a crop's labelled pixels that one class may cover. Of up to ten crops the
            first that fits is taken, else the last.
    """

    scale: tuple[Positive, Positive] = (0.5, 2.0)
    crop: tuple[Pixels, Pixels] = (96, 128)
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    photometric: Annotated[float, Field(ge=0)] = 1.0
    cat_max_ratio: Annotated[float | None, Field(gt=0, le=1)] = None

    def __post_init__(self) -> None:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must go from the smallest to the largest factor, got {list(self.scale)}")


def augment(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator, config: AugmentationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Resize, crop, flip and recolour ``image`` ``(H, W, 3)`` and its ``label`` ``(H, W)``, uint8, at random.

    All random numbers come from ``rng``. The crop is chosen first, as a box in the image, so that only this part is
    resized.
    """
    mask = Image.fromarray(label)
    factor = rng.uniform(*config.scale)
    for _ in range(_TRIES):
        size, box = _random_box(mask.size, factor, config.crop, rng)
        cropped_label = np.asarray(mask.resize(size, Image.Resampling.NEAREST, box))
        if config.cat_max_ratio is None or _largest_fraction(cropped_label) <= config.cat_max_ratio:
            break
    cropped = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box)
    if config.photometric:
        cropped = cropped.convert("RGB", _colour_matrix(rng, config.photometric))

    height, width = cropped_label.shape
    padded_image = np.empty((*config.crop, 3), np.uint8)
    padded_image[:] = MEAN_COLOUR
    padded_image[:height, :width] = np.asarray(cropped)
    padded_label = np.full(config.crop, IGNORE_LABEL, np.uint8)
    padded_label[:height, :width] = cropped_label
    if rng.random() < config.flip:
        return np.ascontiguousarray(padded_image[:, ::-1]), np.ascontiguousarray(padded_label[:, ::-1])
    return padded_image, padded_label


def _random_box(
    size: tuple[int, int], factor: float, crop: tuple[int, int], rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """A random crop of an image of ``size`` (W, H): its size (W, H) after scaling, and its box in the image."""
    width, height = size
    scaled_w, scaled_h = max(1, round(width * factor)), max(1, round(height * factor))
    crop_w, crop_h = min(scaled_w, crop[1]), min(scaled_h, crop[0])
    left, top = rng.integers(scaled_w - crop_w + 1), rng.integers(scaled_h - crop_h + 1)
    across, down = width / scaled_w, height / scaled_h  # pixels of the image per scaled pixel
    box = (
        left * across,
        top * down,
        min(width, (left + crop_w) * across),
        min(height, (top + crop_h) * down),
    )
    return (crop_w, crop_h), box


def _largest_fraction(label: np.ndarray) -> float:
    """The fraction of labelled pixels in the most frequent class; 1 where no pixel is labelled."""
    counts = np.bincount(label.ravel(), minlength=256)[:IGNORE_LABEL]
    return counts.max() / counts.sum() if counts.any() else 1.0


def _colour_matrix(rng: np.random.Generator, strength: float) -> tuple[float, ...]:
    """Contrast, saturation, hue and brightness in one affine map of RGB, as Pillow's twelve numbers.

    ``x' = m + contrast · S · R · (x − m) + brightness`` with the mean colour m, S a blend of the image and its luma
    (BT.601), and R a rotation around the axis of greys.
    """
    brightness, contrast, saturation, hue = rng.uniform(-strength, strength, 4) * (32, 0.5, 0.5, math.radians(18))
    luma = np.array([0.299, 0.587, 0.114])
    saturate = (1 + saturation) * np.eye(3) - saturation * luma  # rows sum to 1: greys stay
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # x ↦ (1, 1, 1)/√3 × x
    rotate = np.eye(3) + math.sin(hue) * across + (1 - math.cos(hue)) * (across @ across)  # Rodrigues
    matrix = (1 + contrast) * saturate @ rotate
    offset = brightness + MEAN_COLOUR - matrix @ MEAN_COLOUR
    return tuple(np.column_stack([matrix, offset]).ravel().tolist())
