"""What these tests want of the machine."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is None or shutil.which("g++") is None,
    reason="g++ or the extra test-cuda is not installed: apt install g++, pip install '.[test-cuda]'",
)
