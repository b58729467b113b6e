"""The modules beside the tests that need PyTorch."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The networks that weights come from, in PyTorch: `torch_networks.py`."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    from . import torch_networks

    return torch_networks


@pytest.fixture(scope="session")
def golden() -> ModuleType:
    """The script that writes the golden files: `make_golden.py`."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    from . import make_golden

    return make_golden
