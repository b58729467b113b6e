"""The backend has what the contract names, with the same signatures."""

from __future__ import annotations

import inspect

import pytest

from backends import reference
from backends.contract import Ops

pytestmark = pytest.mark.gpu

NAMES = [name for name in vars(Ops) if not name.startswith("_") and callable(vars(Ops)[name])]


def signature(function):
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters if p.name != "self"]


def test_is_named(ops):
    assert ops.name == "cupy"


@pytest.mark.parametrize("name", NAMES)
def test_signature(ops, name):
    mine = signature(getattr(ops, name))
    assert mine == signature(vars(Ops)[name])
    assert mine == signature(getattr(reference, name))
