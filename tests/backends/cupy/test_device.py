"""A machine that cannot run the backend gets one sentence that says what to do; no GPU is needed to see it."""

from __future__ import annotations

import sys
import types

import pytest

from backends import BackendError, get_backend


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


def fake_cupy(status, driver):
    def fails():
        raise CUDARuntimeError(status)

    runtime = types.SimpleNamespace(
        getDeviceCount=fails, driverGetVersion=lambda: driver, CUDARuntimeError=CUDARuntimeError
    )
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))


@pytest.fixture
def without(monkeypatch):
    """Ask for the backend with ``fake`` in the place of CuPy (None: not installed)."""

    def ask(fake):
        for name in [name for name in sys.modules if name.startswith("backends.cupy")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "cupy", fake)
        with pytest.raises(BackendError) as caught:
            get_backend("cupy")
        return str(caught.value)

    return ask


def test_without_cupy(without):
    assert "pip install '.[cupy]'" in without(None)


@pytest.mark.parametrize(
    ("status", "driver", "sentence"),
    [
        (100, 13000, "found no CUDA device"),
        (35, 12040, "found a driver for CUDA 12.4, which is older than its CuPy needs: update the NVIDIA driver"),
        (35, 0, "found no NVIDIA driver"),
        (999, 13000, r"cannot use the CUDA device (status 999)"),
    ],
)
def test_without_a_device(without, status, driver, sentence):
    message = without(fake_cupy(status, driver))
    assert sentence in message
    assert message.endswith("or choose the backend numpy.")


def test_auto_falls_back(without, monkeypatch):
    without(None)
    assert get_backend("auto").name in ("numba", "numpy")
