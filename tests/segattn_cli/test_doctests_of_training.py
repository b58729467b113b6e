"""The examples in the docstrings of configuration, checkpoints and training run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    ["checkpoint", "commands.train_display", "config", "runs", "training.optimiser", "training.schedule"],
)
def test_examples(module):
    failed, tried = doctest.testmod(importlib.import_module(f"segattn_cli.{module}"))
    assert tried > 0
    assert failed == 0
