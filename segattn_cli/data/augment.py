"""Random variations of an image and its mask: scale, crop, rotation, flips, colours, blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field

from segattn_cli.data.colours import MEAN_COLOUR, ColourLimits, colour_matrix
from segattn_cli.data.dataset import IGNORE_LABEL

_TRIES = 10  # crops drawn for `cat_max_ratio` before the last one is taken
_BLUR = (0.1, 2.0)  # smallest and largest standard deviation of a blur, in pixels


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
#: Pixels of the longest side of a crop.
LARGEST_SIDE = 65_536
Pixels = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How training images are varied at random.

    Args:
        scale: smallest and largest factor by which the image is resized before it is cropped.
        enlarge: probability with which this factor is multiplied by ``enlarge_factor``.
        enlarge_factor: the factor of ``enlarge``.
        crop: height and width of the crop. Parts of it outside the image are filled with ImageNet's mean, and with
            the ignored label in the mask.
        rotation: largest angle in degrees by which the image is turned, either way, around the middle of the crop.
            Masks are turned by nearest neighbour.
        flip: probability of a left-right flip.
        flip_vertical: probability of an upside-down flip, for images from above.
        photometric: strength of the changes to the colours: a factor on the limits of brightness, contrast,
            saturation and hue; 0 changes nothing.
        photometric_probability: probability of each of these four changes; each is drawn on its own.
        brightness: largest change of the brightness, of 255.
        contrast: contrast changes by factors from 1 − this number to 1 + this number.
        saturation: saturation changes by factors from 1 − this number to 1 + this number.
        hue: largest change of the hue in degrees.
        blur: probability of a Gaussian blur, whose standard deviation is drawn from 0.1 to 2 pixels.
        cat_max_ratio: largest fraction of a crop's labelled pixels that one class may cover. Of up to ten crops the
            first that fits is taken, else the last.
        cutmix: probability that a box of the crop is replaced by that of another training image (Yun et al. 2019).
        classmix: probability that the pixels of half of the classes of another training image are pasted into the
            crop (Olsson et al. 2021).
    """

    scale: tuple[Positive, Positive] = (0.5, 2.0)
    enlarge: Probability = 0.0
    enlarge_factor: Positive = 1.25
    crop: tuple[Pixels, Pixels] = (96, 128)
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    flip: Probability = 0.5
    flip_vertical: Probability = 0.0
    photometric: NotNegative = 1.0
    photometric_probability: Probability = 1.0
    brightness: NotNegative = 32.0
    contrast: NotNegative = 0.5
    saturation: NotNegative = 0.5
    hue: NotNegative = 18.0
    blur: Probability = 0.0
    cat_max_ratio: Annotated[float | None, Field(gt=0, le=1)] = None
    cutmix: Probability = 0.0
    classmix: Probability = 0.0

    def __post_init__(self) -> None:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must go from the smallest to the largest factor, got {list(self.scale)}")

    @property
    def colour_limits(self) -> ColourLimits:
        """The largest changes of the colours at strength 1."""
        return ColourLimits(self.brightness, self.contrast, self.saturation, math.radians(self.hue))


def augment(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator, config: AugmentationConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Resize, crop, turn, flip and recolour ``image`` ``(H, W, 3)`` and its ``label`` ``(H, W)``, uint8, at random.

    All random numbers come from ``rng``, and none is drawn for a change that ``config`` does not ask for. The crop
    is chosen first, as a window of the image, so that only this part is resized.

    >>> image, label = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
    >>> config = AugmentationConfig(crop=(32, 40), rotation=10)
    >>> image, label = augment(image, label, np.random.default_rng(0), config)
    >>> image.shape, label.shape
    ((32, 40, 3), (32, 40))
    """
    mask = Image.fromarray(label)
    factor = rng.uniform(*config.scale)
    if _happens(config.enlarge, rng):
        factor *= config.enlarge_factor
    angle = math.radians(rng.uniform(-config.rotation, config.rotation)) if config.rotation else 0.0
    for _ in range(_TRIES):
        window = _random_window(mask.size, factor, config.crop, rng)
        cropped_label = np.asarray(window.cut(mask, Image.Resampling.NEAREST, angle, fill=IGNORE_LABEL))
        if config.cat_max_ratio is None or _largest_fraction(cropped_label) <= config.cat_max_ratio:
            break
    mean = tuple(MEAN_COLOUR.tolist())
    cropped = window.cut(Image.fromarray(image), Image.Resampling.BILINEAR, angle, fill=mean)
    if config.photometric:
        matrix = colour_matrix(rng, config.photometric, config.colour_limits, config.photometric_probability)
        cropped = cropped.convert("RGB", matrix)
    if _happens(config.blur, rng):
        cropped = cropped.filter(ImageFilter.GaussianBlur(rng.uniform(*_BLUR)))

    height, width = cropped_label.shape
    padded_image = np.empty((*config.crop, 3), np.uint8)
    padded_image[:] = MEAN_COLOUR
    padded_image[:height, :width] = np.asarray(cropped)
    padded_label = np.full(config.crop, IGNORE_LABEL, np.uint8)
    padded_label[:height, :width] = cropped_label
    if rng.random() < config.flip:
        padded_image, padded_label = padded_image[:, ::-1], padded_label[:, ::-1]
    if _happens(config.flip_vertical, rng):
        padded_image, padded_label = padded_image[::-1], padded_label[::-1]
    return np.ascontiguousarray(padded_image), np.ascontiguousarray(padded_label)


def _happens(probability: float, rng: np.random.Generator) -> bool:
    """Whether a change is made; nothing is drawn for one that is never made."""
    return probability > 0 and rng.random() < probability


class _Window(NamedTuple):
    """A part of an image that is scaled to the size ``scaled`` (W, H), in pixels of the scaled image."""

    left: int
    top: int
    width: int
    height: int
    scaled: tuple[int, int]

    def cut(
        self, image: Image.Image, resampling: Image.Resampling, angle: float, fill: int | tuple[int, ...]
    ) -> Image.Image:
        """This part of ``image``, turned by ``angle`` (radians) around its middle; ``fill`` is outside of it."""
        if not angle:
            return self._resized(image, resampling)
        cos, sin = math.cos(angle), math.sin(angle)
        half_w, half_h = self.width / 2, self.height / 2
        x, y = self.left + half_w, self.top + half_h
        reach_x, reach_y = abs(cos) * half_w + abs(sin) * half_h, abs(sin) * half_w + abs(cos) * half_h
        left, top = max(0, math.floor(x - reach_x)), max(0, math.floor(y - reach_y))
        right = min(self.scaled[0], math.ceil(x + reach_x))
        bottom = min(self.scaled[1], math.ceil(y + reach_y))
        around = _Window(left, top, right - left, bottom - top, self.scaled)
        # (x, y) of the result is taken from the turned (x − half_w, y − half_h), counted from the middle
        matrix = (
            cos, -sin, x - left - cos * half_w + sin * half_h,
            sin, cos, y - top - sin * half_w - cos * half_h,
        )  # fmt: skip
        return around._resized(image, resampling).transform(
            (self.width, self.height), Image.Transform.AFFINE, matrix, resampling, fillcolor=fill
        )

    def _resized(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        across, down = image.width / self.scaled[0], image.height / self.scaled[1]  # pixels per scaled pixel
        box = (
            self.left * across,
            self.top * down,
            min(image.width, (self.left + self.width) * across),
            min(image.height, (self.top + self.height) * down),
        )
        return image.resize((self.width, self.height), resampling, box)


def _random_window(
    size: tuple[int, int], factor: float, crop: tuple[int, int], rng: np.random.Generator
) -> _Window:
    """A random crop of an image of ``size`` (W, H) that is scaled by ``factor``."""
    width, height = size
    scaled_w, scaled_h = max(1, round(width * factor)), max(1, round(height * factor))
    crop_w, crop_h = min(scaled_w, crop[1]), min(scaled_h, crop[0])
    left, top = rng.integers(scaled_w - crop_w + 1), rng.integers(scaled_h - crop_h + 1)
    return _Window(int(left), int(top), crop_w, crop_h, (scaled_w, scaled_h))


def _largest_fraction(label: np.ndarray) -> float:
    """The fraction of labelled pixels in the most frequent class; 1 where no pixel is labelled."""
    counts = np.bincount(label.ravel(), minlength=256)[:IGNORE_LABEL]
    return counts.max() / counts.sum() if counts.any() else 1.0
