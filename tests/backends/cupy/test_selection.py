"""Which device, in which precision, with how much of its memory."""

from __future__ import annotations

import types

import pytest

from backends import BackendError, get_backend

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("index", ["99", "x", "-1"])
def test_an_index_that_is_no_device(ops, index):
    with pytest.raises(BackendError, match=rf"^There is no device cupy:{index}: this machine has cupy:0"):
        get_backend(f"cupy:{index}")


def test_the_first_device_by_its_index(ops):
    assert get_backend("cupy:0") is ops


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
def test_an_old_card(ops, cupy, monkeypatch, precision):
    monkeypatch.setattr(cupy.cuda, "Device", lambda *_: types.SimpleNamespace(compute_capability="75"))
    with pytest.raises(BackendError, match=rf"{precision} needs a GPU of compute capability 8\.0 .* has 7\.5: "):
        get_backend("cupy", precision)
    assert get_backend("cupy") is ops


def test_an_unknown_precision(ops):
    with pytest.raises(BackendError, match=r"^Unknown precision 'half': choose from float32, tf32, "):
        get_backend("cupy", "half")


def test_tf32_is_for_those_who_ask(ops):
    from backends.cupy.gemm import tf32_allowed

    get_backend("cupy", "tf32")
    assert tf32_allowed()
    get_backend("cupy")
    assert not tf32_allowed()


def test_a_full_card(ops, cupy, monkeypatch):
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (100 * 10**6, 8 * 10**9))
    pool = types.SimpleNamespace(total_bytes=lambda: 0, free_bytes=lambda: 0)
    monkeypatch.setattr(cupy, "get_default_memory_pool", lambda: pool)
    with pytest.raises(BackendError, match=r"^The GPU has 100 MB of its 8\.0 GB free, which is too little: end "):
        get_backend("cupy")


@pytest.mark.parametrize(
    ("text", "limit"), [("8GB", 8 * 10**9), ("0.5 gb", 5 * 10**8), ("700MB", 7 * 10**8), ("25%", 10 * 10**9)]
)
def test_a_limit(ops, cupy, monkeypatch, text, limit):
    limits = []
    pool = types.SimpleNamespace(total_bytes=lambda: 0, set_limit=lambda *, size: limits.append(size))
    monkeypatch.setattr(cupy, "get_default_memory_pool", lambda: pool)
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (40 * 10**9, 40 * 10**9))
    monkeypatch.setenv("SEGATTN_GPU_MEMORY", text)
    get_backend("cupy")
    assert limits == [limit]


@pytest.mark.parametrize("text", ["much", "8", "-1GB", "GB", "nan%", "0%"])
def test_a_limit_that_is_none(ops, monkeypatch, text):
    monkeypatch.setenv("SEGATTN_GPU_MEMORY", text)
    with pytest.raises(BackendError, match=r"^SEGATTN_GPU_MEMORY is .*, wants a size such as 8GB, 500MB or "):
        get_backend("cupy")


def test_a_card_without_a_context_tells_no_more(ops, cupy, monkeypatch):
    from backends.cupy.memory import out_of_memory

    def fail():
        raise cupy.cuda.runtime.CUDARuntimeError(2)

    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", fail)
    assert out_of_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")) == "CUBLAS_STATUS_ALLOC_FAILED"


def test_what_is_said_when_memory_runs_out(ops, cupy, monkeypatch):
    from backends.cupy.memory import out_of_memory

    pool = types.SimpleNamespace(get_limit=lambda: 6 * 10**9, used_bytes=lambda: 5_900_000_000)
    monkeypatch.setattr(cupy, "get_default_memory_pool", lambda: pool)
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (2 * 10**9, 8 * 10**9))
    error = MemoryError()
    error._size = 350 * 10**6
    assert out_of_memory(error) == (
        "the GPU could not allocate 350 MB more: segattn holds 5.9 GB, of the 6.0 GB that SEGATTN_GPU_MEMORY "
        "allows, and 2.0 GB of 8.0 GB are free"
    )


def test_a_kernel_is_loaded_on_each_device(ops, cupy, monkeypatch):
    """The handle of one device is invalid on another one."""
    from backends.cupy import launch

    handles = []
    monkeypatch.setattr(launch, "start", lambda handle, *_: handles.append(handle))
    for device in (0, 1, 0):
        monkeypatch.setattr(cupy.cuda, "get_device_id", lambda number=device: number)
        launch.launch("softmax.cu", "label_map<float>", (1,), (256,))
    assert handles[0] == handles[2] != handles[1]
