"""The extensions of the site, which no package contains."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture(scope="module")
def extension(repository):
    """``extension("diagram")`` is a module of docs/extensions."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install 'segattn[docs]'")
    before = set(sys.modules)
    folder = str(repository / "docs" / "extensions")
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]
