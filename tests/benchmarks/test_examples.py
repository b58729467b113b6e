"""Every example in a docstring of the scripts runs, and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import benchmarks

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
MODULES = [f"benchmarks.{module.name}" for module in pkgutil.iter_modules(benchmarks.__path__)]
pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_scripts_are_there():
    assert {"benchmarks.torch_training", "benchmarks.beside_torch", "benchmarks.vgg16_from_hed"} <= set(MODULES)
