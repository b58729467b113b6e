"""Facts about the machine that a speed depends on: processor, memory, BLAS, and the time of a matrix product."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from backends.cores import ROOT, allowed_cores, cpu_groups, cpu_quota, usable_cores


def hardware() -> dict[str, Any]:
    """Processor, cores and memory, ready for JSON; None stands for what the system does not say."""
    model, flags = _processor()
    return {
        "platform": platform.platform(),
        "processor": model,
        "avx512": "avx512f" in flags,
        "cores": os.cpu_count(),
        "allowed cores": allowed_cores(),
        "quota, cores": cpu_quota(),
        "usable cores": usable_cores(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "memory, GB": gigabytes("MemTotal"),
        "memory free, GB": gigabytes("MemAvailable"),
    }


def cores_obtained(
    threads: int,
    seconds: float = 0.3,
    *,
    clock: Callable[[], float] = time.perf_counter,
    own_time: Callable[[], float] = time.thread_time,
) -> float:
    """On how many cores so many threads compute in the next ``seconds``; other programs have the rest."""

    def compute(_: int) -> float:
        start, computed = clock(), own_time()
        values = np.ones(1 << 20)
        while clock() - start < seconds:
            np.sqrt(values, out=values)  # without Python's lock, for a millisecond
        return (own_time() - computed) / (clock() - start)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(compute, range(threads)))


def gigabytes(entry: str) -> float | None:
    """The value of ``entry`` in Linux's /proc/meminfo; None on other systems."""
    sizes = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines())
    return round(int(sizes[entry].split()[0]) / 1e6, 1) if entry in sizes else None


def available_bytes(root: Path = ROOT) -> int | None:
    """The memory that this process could take without ending another, or itself; None where nobody says.

    It is what the machine has left, or the limit of a control group (a container, a job of Slurm) leaves.
    """
    meminfo = dict(line.split(":", 1) for line in _read(root / "proc/meminfo").splitlines())
    free = [int(meminfo["MemAvailable"].split()[0]) * 1024] if "MemAvailable" in meminfo else []
    for folder in cpu_groups(root):
        limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
        if limit.isdigit() and used.isdigit():  # version 2 of control groups, in which one folder limits all
            parts = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
            free.append(max(0, int(limit) - int(used) + int(parts.get("inactive_file", 0))))
    return min(free, default=None)


def blas_libraries() -> list[dict[str, Any]]:
    """The BLAS libraries in this process, NumPy's and those of other packages, ready for JSON."""
    return [
        {
            "library": info["internal_api"],
            "version": info["version"] or "",
            "architecture": info.get("architecture") or "",
            "threads": info["num_threads"],
            "threading": info.get("threading_layer") or "",
            "of": Path(info["filepath"]).parent.name.removesuffix(".libs"),
        }
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]


def matmul_gflops(dtype: str, size: int = 1024, repeats: int = 5) -> float:
    """The speed of a product of two square matrices, in GFLOP/s: the best of ``repeats``."""
    a = np.ones((size, size), dtype)
    y = a @ a  # warm up
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(a, a, out=y)
        times.append(time.perf_counter() - start)
    return round(2 * size**3 / min(times) / 1e9, 1)


def _processor() -> tuple[str, list[str]]:
    """The name of the processor, and the instruction sets that Linux lists for it."""
    lines = (line.split(":", 1) for line in _read("/proc/cpuinfo").splitlines() if ":" in line)
    entries = {name.strip(): value.strip() for name, value in lines}
    return entries.get("model name") or platform.processor() or platform.machine(), entries.get("flags", "").split()


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
