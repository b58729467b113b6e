"""The backends that every machine has."""

from __future__ import annotations

import pytest

from backends import BackendError, get_backend


@pytest.fixture(params=["reference", "numpy", "numba"])
def ops(request):
    try:
        return get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))
