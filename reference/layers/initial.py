"""Initial weights. Shapes are ``(…, C_in, C_out)``; one output is a sum over all axes but the last."""

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
    """N(0, √(2 / (k²·C_in))): convolutions before a ReLU without a norm: they preserve the variance."""
    return rng.normal(0.0, math.sqrt(2.0 / math.prod(shape[:-1])), shape)


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """U(−1/√n, 1/√n) with n = k²·C_in: DANet's projections and classifiers."""
    bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
    return rng.uniform(-bound, bound, shape)


def gaussian(std: float) -> Init:
    """N(0, std): the new layers of DeepLab, with std = 0.01."""
    return lambda rng, shape: rng.normal(0.0, std, shape)


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """0: the last convolution of the scale attention, so that all scales start with the same weight."""
    return np.zeros(shape)
