"""How weights start. Shapes are ``(…, C_in, C_out)``; all but the last axis are what one output sums over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reference.layers.base import Init


def he_fan_out(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """N(0, √(2 / (k²·C_out))): convolutions before a batch norm, as in the authors' ResNet (He et al. 2015)."""
    *window, _, c_out = shape
    return rng.normal(0.0, math.sqrt(2.0 / (math.prod(window) * c_out)), shape)


def he_fan_in(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """N(0, √(2 / (k²·C_in))): convolutions before a ReLU without a norm, which keep the signal's size."""
    return rng.normal(0.0, math.sqrt(2.0 / math.prod(shape[:-1])), shape)


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """U(−1/√n, 1/√n) with n = k²·C_in: what DANet's projections and classifiers start from."""
    bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
    return rng.uniform(-bound, bound, shape)


def gaussian(std: float) -> Init:
    """N(0, std): DeepLab's new layers have std = 0.01."""
    return lambda rng, shape: rng.normal(0.0, std, shape)


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """0, for what must not speak at the start: gates, and the last convolution of the scale attention."""
    return np.zeros(shape)
