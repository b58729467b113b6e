"""A machine that cannot run the backend gets one sentence that says what to do; no GPU is needed to see it."""

from __future__ import annotations

import importlib.util
import logging
import sys
import types
from pathlib import Path

import pytest

import backends
import backends.registry
from backends import BackendError, get_backend

INSTEAD = "or choose the backend numpy, which computes in float32."


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
    assert "pip install 'segattn[cupy]'" in without(None)


@pytest.mark.parametrize(
    ("status", "driver", "sentence"),
    [
        (100, 13000, "found no CUDA device"),
        (35, 12040, "found a driver for CUDA 12.4, which is older than its CuPy needs: update the NVIDIA driver"),
        (35, 0, "found no NVIDIA driver"),
        (2, 13000, "found too little free memory on the GPU: end other processes"),
        (46, 13000, "found a GPU that another process uses exclusively"),
        (999, 13000, r"cannot use the CUDA device (status 999)"),
    ],
)
def test_without_a_device(without, status, driver, sentence):
    message = without(fake_cupy(status, driver))
    assert sentence in message
    assert message.endswith(INSTEAD)


@pytest.fixture
def machine(monkeypatch):
    """``machine(…)``: the module ``device`` on a machine with such cards, which needs neither CuPy nor a card."""

    def make(*, count=1, capability="90", oldest=75, compiler=True, alone=False, fails=None):
        def archs():
            if not compiler:
                raise RuntimeError("libnvrtc.so")
            return (oldest, 120)

        def limit_memory():
            if fails is not None:
                raise CUDARuntimeError(fails)
            seen.append("limit")

        class Device:
            compute_capability = capability

            def __init__(self, index=0):
                self.index = index

            def use(self):
                if alone:
                    raise CUDARuntimeError(46)
                seen.append(f"use {self.index}")

        seen = []
        runtime = types.SimpleNamespace(
            getDeviceCount=lambda: count, driverGetVersion=lambda: 13000, CUDARuntimeError=CUDARuntimeError
        )
        nvrtc = types.SimpleNamespace(getSupportedArchs=archs)
        cuda = types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc, Device=Device)
        fakes = {
            "cupy": types.SimpleNamespace(cuda=cuda),
            "backends.cupy": types.ModuleType("backends.cupy"),
            "backends.cupy.gemm": types.SimpleNamespace(allow_tf32=lambda allowed: seen.append(f"tf32 {allowed}")),
            "backends.cupy.memory": types.SimpleNamespace(limit_memory=limit_memory),
        }
        for name, fake in fakes.items():
            monkeypatch.setitem(sys.modules, name, fake)
        file = Path(backends.__file__).parent / "cupy" / "device.py"
        spec = importlib.util.spec_from_file_location("backends.cupy.device", file)
        device = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(device)
        device.seen = seen
        return device

    return make


@pytest.mark.parametrize(("index", "precision"), [("", "float32"), ("1", "tf32"), ("0", "float16")])
def test_a_device_is_used_in_a_precision(machine, index, precision):
    device = machine(count=2)
    device.select_device(index, precision)
    assert device.seen == [*([f"use {index}"] if index else []), "limit", f"tf32 {precision == 'tf32'}"]


@pytest.mark.parametrize(
    ("cards", "index", "precision", "sentence"),
    [
        ({}, "1", "float32", "There is no device cupy:1: this machine has cupy:0."),
        ({"count": 4}, "4", "float32", "There is no device cupy:4: this machine has cupy:0 to cupy:3."),
        ({"count": 4}, "-1", "float32", "There is no device cupy:-1: this machine has cupy:0 to cupy:3."),
        ({"count": 4}, "²", "float32", "There is no device cupy:²: this machine has cupy:0 to cupy:3."),
        (
            {"capability": "75"}, "", "bfloat16",
            "The precision bfloat16 needs a GPU of compute capability 8.0 (Ampere) or newer, this one has 7.5: "
            "choose float32.",
        ),
        (
            {"capability": "61"}, "", "float32",
            "CuPy's compiler makes kernels for compute capability 7.5 and newer, and this GPU has 6.1: install "
            f"the CuPy of an earlier CUDA, such as cupy-cuda12x, {INSTEAD}",
        ),
        (
            {"compiler": False}, "", "float32",
            "The cupy backend found CuPy without CUDA's compiler (NVRTC): install it with "
            f"pip install 'segattn[cupy]', {INSTEAD}",
        ),
        (
            {"alone": True}, "0", "float32",
            "The cupy backend found a GPU that another process uses exclusively: wait for it, or choose "
            f"another GPU, as cupy:1, {INSTEAD}",
        ),
        (
            {"fails": 2}, "", "float32",
            "The cupy backend found too little free memory on the GPU: end other processes that use it (see "
            f"nvidia-smi), {INSTEAD}",
        ),
    ],
)  # fmt: skip
def test_a_device_that_will_not_do(machine, cards, index, precision, sentence):
    with pytest.raises(BackendError) as caught:
        machine(**cards).select_device(index, precision)
    assert str(caught.value) == sentence


def test_a_device_is_described(machine, monkeypatch):
    device = machine(count=2, capability="75")
    cupy = sys.modules["cupy"]
    cupy.__version__ = "14.2.0"
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(get_limit=lambda: 8 * 10**9)
    cupy.cuda.Device.id = 1
    runtime = cupy.cuda.runtime
    runtime.runtimeGetVersion = lambda: 13020
    runtime.memGetInfo = lambda: (10 * 10**9, 16 * 10**9)
    runtime.getDeviceProperties = lambda index: {"name": b"Card"}
    sys.modules["backends.cupy.memory"].format_bytes = lambda size: f"{size // 10**9} GB"
    monkeypatch.setitem(sys.modules, "backends.cupy.conv2d", types.SimpleNamespace(engine=lambda: "products"))
    assert device.describe() == {
        "device": "cupy:1 of 2, Card",
        "compute capability": "7.5",
        "memory": "10 GB of 16 GB free, limit 8 GB",
        "CUDA": "driver 13.0, runtime 13.2",
        "CuPy": "14.2.0",
        "precisions": "float32",
        "convolutions": "products",
    }
    sys.modules["backends.cupy.conv2d"].engine = lambda: "cuDNN 9.19"
    assert device.describe()["convolutions"] == "cuDNN 9.19 in tf32, float16 and bfloat16, products in float32"


def test_auto_tells_why_a_card_is_left_unused(without, caplog):
    caplog.set_level(logging.INFO, "backends.registry")
    without(fake_cupy(35, 12040))
    backends.registry._log_once.cache_clear()
    taken = [get_backend("auto").name for _ in range(2)]
    (line,) = caplog.messages  # once
    assert line.startswith(f"The backend is {taken[0]}, by auto. The cupy backend found a driver for CUDA 12.4")


def test_auto_takes_no_notice_of_what_is_not_installed(without, caplog):
    caplog.set_level(logging.INFO, "backends.registry")
    without(None)
    backends.registry._log_once.cache_clear()
    assert get_backend("auto").name in ("numba", "numpy")
    assert caplog.messages == []


def test_auto_falls_back(without, monkeypatch):
    without(None)
    assert get_backend("auto").name in ("numba", "numpy")
