"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "batch_norm",
    "channel_attention",
    "conv2d",
    "hard_pixels",
    "linear",
    "lovasz_softmax",
    "max_pool2d",
    "position_attention",
    "relu",
    "resize_bilinear",
    "softmax_cross_entropy",
    "softmax_dice",
    "softmax_focal",
    "threads",
    "windows",
]


@pytest.mark.parametrize("module", MODULES)
def test_doctests(module):
    results = doctest.testmod(importlib.import_module(f"backends.numpy.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
