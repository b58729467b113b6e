from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["metrics", "inference", "segmenting", "commands.prediction"])
def test_examples_run(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"segattn_cli.{module}"))
    assert tried > 0
    assert failed == 0
