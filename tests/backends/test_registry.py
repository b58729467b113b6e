"""Backends are found by name, and what cannot be had is answered in one sentence."""

from __future__ import annotations

import builtins
import doctest
import sys

import pytest

import backends
import backends.registry
from backends import BackendError, get_backend


def test_auto_takes_the_fastest_that_is_there(monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")
    without(monkeypatch, "cupy")
    assert get_backend().name == "numba"
    without(monkeypatch, "cupy", "numba")
    assert get_backend().name == "numpy"


@pytest.mark.parametrize("package", ["cupy", "numba"])
def test_a_backend_says_what_to_install(monkeypatch, package):
    without(monkeypatch, package)
    with pytest.raises(BackendError, match=rf"\[{package}\]") as raised:
        get_backend(package)
    assert "\n" not in str(raised.value)


def without(monkeypatch, *packages):
    """As on a machine that does not have these packages, whatever this one has."""
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] in packages:
            raise ImportError(f"No module named {name!r}")
        return real_import(name, *args, **kwargs)

    for name in list(sys.modules):
        if name.startswith(tuple(f"backends.{package}" for package in packages)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(("wrong", "hint"), [("nunpy", "numpy"), ("refrence", "reference"), ("atuo", "auto")])
def test_a_misspelt_name_is_answered_with_the_nearest(wrong, hint):
    with pytest.raises(BackendError, match=f"Unknown backend '{wrong}' .did you mean {hint}"):
        get_backend(wrong)


def test_an_unknown_name_is_answered_with_all():
    with pytest.raises(BackendError, match="choose from reference, numpy, numba, cupy, auto") as raised:
        get_backend("xyz")
    assert "did you mean" not in str(raised.value)


@pytest.mark.parametrize("module", [backends, backends.registry])
def test_doctests(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
