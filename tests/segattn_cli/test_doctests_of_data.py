from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module", ["canvas", "images", "inspect", "normalise", "opening", "palettes", "scenes", "streams"]
)
def test_examples_run(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"segattn_cli.data.{module}"))
    assert tried > 0
    assert failed == 0
