"""BLAS has one thread inside compiled loops, and is limited anew only where somebody gave it more."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

pytest.importorskip("numba")

from backends import get_backend
from backends.numba import compile as compiled


def test_blas_is_limited_at_a_call_only_if_somebody_gave_it_threads(monkeypatch: pytest.MonkeyPatch):
    used: list[int] = []

    class Libraries:
        def limit(self, *, limits: Any) -> Any:
            used.append(limits)
            return nullcontext()

    monkeypatch.setattr(compiled, "blas_libraries", Libraries)
    ops, x = get_backend("numba"), np.ones((1, 4, 4, 8), np.float32)
    with threadpool_limits(1, user_api="blas"):
        ops.relu(x)
        assert used == []
    with threadpool_limits(2, user_api="blas"):
        ops.relu(x)
        assert used == [1]


def test_the_blas_of_kernels_is_that_of_scipy_where_it_has_its_own():
    names = {library.filepath for library in compiled._blas}
    assert names
    own = {name for name in names if "scipy.libs" in name or "scipy/.dylibs" in name}
    assert own in (names, set())
    if own:
        assert all(library.get_num_threads() == 1 for library in compiled._blas)
