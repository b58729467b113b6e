"""Backends are found by name, and what cannot be had is answered in one sentence."""

from __future__ import annotations

import builtins
import doctest
import sys

import pytest

import backends
import backends.registry
from backends import BackendError, get_backend


def test_auto_is_numpy_without_a_device(monkeypatch):
    without_cupy(monkeypatch)
    assert get_backend().name == "numpy"


def test_cupy_says_what_to_install(monkeypatch):
    without_cupy(monkeypatch)
    with pytest.raises(BackendError, match=r"\.\[cupy\]") as raised:
        get_backend("cupy")
    assert "\n" not in str(raised.value)


def without_cupy(monkeypatch):
    """As on a machine that has no CuPy, whatever this one has."""
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "cupy":
            raise ImportError("No module named 'cupy'")
        return real_import(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith("backends.cupy")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(("wrong", "hint"), [("nunpy", "numpy"), ("refrence", "reference"), ("atuo", "auto")])
def test_a_misspelt_name_is_answered_with_the_nearest(wrong, hint):
    with pytest.raises(BackendError, match=f"Unknown backend '{wrong}'.*Did you mean '{hint}'"):
        get_backend(wrong)


def test_an_unknown_name_is_answered_with_all():
    with pytest.raises(BackendError, match="choose from reference, numpy, cupy, auto") as raised:
        get_backend("xyz")
    assert "Did you mean" not in str(raised.value)


@pytest.mark.parametrize("module", [backends, backends.registry])
def test_doctests(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
