"""The clock and the memory of an NVIDIA GPU, for ``segattn bench``: both implementations run on it in one process.

CuPy and PyTorch queue on the same stream, the default one, so one pair of events times either of them. Their memory
is apart: each has a pool of its own.
"""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import cupy

from backends.cupy.conv2d import engine
from backends.cupy.gemm import gemm

#: The side of the square matrices whose product measures the card's peak, and the number of tries.
SIZE, REPEATS = 8192, 6


class CallMemory(NamedTuple):
    """The memory of one call at its peak, in bytes."""

    extra: int  # over what was held before
    total: int  # with it


def seconds(function: Callable[[], None]) -> float:
    """How long the device needs for one call of ``function``, from an idle start; waiting for the host counts."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    start.record()
    function()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(start, end) / 1e3


def queue_seconds(function: Callable[[], None]) -> float:
    """How long the host needs to queue one call of ``function``."""
    cupy.cuda.Device().synchronize()
    start = time.perf_counter()
    function()
    queued = time.perf_counter() - start
    cupy.cuda.Device().synchronize()
    return queued


def our_peak(function: Callable[[], None]) -> CallMemory:
    """The memory of a call that allocates from CuPy: all that a fresh pool asked the driver for."""
    release()
    before = cupy.get_default_memory_pool().used_bytes()
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        function()
    cupy.cuda.Device().synchronize()
    return CallMemory(pool.total_bytes(), before + pool.total_bytes())


def their_peak(function: Callable[[], None]) -> CallMemory:
    """The memory of a call that allocates from PyTorch."""
    import torch

    release()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    return CallMemory(peak - before, peak)


def release() -> None:
    """Free the unused memory of both pools, so that each implementation may have all of the card."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    with suppress(ImportError):
        import torch

        torch.cuda.empty_cache()


def free_bytes() -> int:
    release()
    return int(cupy.cuda.runtime.memGetInfo()[0])


def share_a_stream() -> bool:
    """Put PyTorch on CuPy's device; whether both queue on one stream, which the clock's events need."""
    import torch

    torch.cuda.set_device(cupy.cuda.get_device_id())
    return int(torch.cuda.current_stream().cuda_stream) == int(cupy.cuda.get_current_stream().ptr)


def matmul_gflops(dtype: Any) -> float:
    """The best of a few products of two square matrices, in the precision that the backend is set to."""
    rng = cupy.random.default_rng(0)  # of zeros or ones, a product draws less power and is faster
    a, b = (rng.standard_normal((SIZE, SIZE), dtype=cupy.float32).astype(dtype) for _ in range(2))
    y = cupy.empty((SIZE, SIZE), dtype)

    def product() -> None:
        gemm(a, b, y)

    return round(2 * SIZE**3 / min(seconds(product) for _ in range(REPEATS)) / 1e9, 1)


def describe() -> dict[str, Any]:
    """The card and its driver."""
    device = cupy.cuda.get_device_id()
    properties = cupy.cuda.runtime.getDeviceProperties(device)
    name = properties["name"]
    return {
        "device": name.decode() if isinstance(name, bytes) else name,
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "device memory, GB": round(properties["totalGlobalMem"] / 1e9, 1),
        "driver": _driver(),
        "CUDA of the driver": _version(cupy.cuda.runtime.driverGetVersion()),
        "CUDA runtime": _version(cupy.cuda.runtime.runtimeGetVersion()),
        "convolutions": engine(),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries below CuPy and PyTorch, whatever their packages are called."""
    libraries = {"cupy": cupy.__version__}
    with suppress(ImportError):
        import torch

        libraries["torch"] = str(torch.__version__)
        libraries["cudnn of torch"] = str(torch.backends.cudnn.version())
    return libraries


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str:
    """The version of the kernel module, if the system reports it."""
    with suppress(OSError):
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
        if version := re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text):
            return version[0]
    return "unknown"
