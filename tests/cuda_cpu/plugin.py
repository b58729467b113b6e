"""``pytest -p tests.cuda_cpu.plugin`` runs tests of the CuPy backend on the stand-in.

``SEGATTN_SHARE="0 2"`` runs the first of two halves; ``SEGATTN_LAUNCHES`` is where the launches are written to.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .stand_in import install, seen

install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    share, of = map(int, os.environ.get("SEGATTN_SHARE", "0 1").split())
    wanted = [item for item in items if item.get_closest_marker("gpu") or "on_stand_in" in item.nodeid][share::of]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def pytest_unconfigure() -> None:
    if path := os.environ.get("SEGATTN_LAUNCHES"):
        seen.write(Path(path))
