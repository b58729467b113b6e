"""Backends that are broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import backends.reference


@pytest.fixture
def broken() -> Callable[..., Any]:
    """``broken(relu=…)``: the reference as a backend, with some ops replaced."""

    def build(**replaced: Any) -> SimpleNamespace:
        return SimpleNamespace(**(vars(backends.reference) | replaced | {"name": "broken"}))

    return build
