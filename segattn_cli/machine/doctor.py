"""What this machine offers to segattn, and what holds it back."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from backends import BackendError, get_backend
from backends.numpy.threads import thread_count
from segattn_cli.machine.versions import versions

PACKAGES = (
    "segattn", "numpy", "scipy", "threadpoolctl", "pillow", "safetensors", "pydantic", "typer", "rich",
    "matplotlib", "numba", "cupy-cuda13x", "nvidia-cudnn-frontend", "onnx", "onnxruntime",
)  # fmt: skip
#: Environment variable → what it changes.
VARIABLES = {
    "OPENBLAS_CORETYPE": "forces OpenBLAS's kernels for that processor, whatever this one is",
    "OPENBLAS_L2_SIZE": "tells OpenBLAS the size of the cache, in kB, in place of the true one",
    "OPENBLAS_NUM_THREADS": "holds OpenBLAS to so many threads",
    "GOTO_NUM_THREADS": "holds OpenBLAS to so many threads",
    "OMP_NUM_THREADS": "holds BLAS to so many threads",
    "MKL_NUM_THREADS": "holds MKL to so many threads",
    "NPY_DISABLE_CPU_FEATURES": "keeps NumPy's own loops from vector instructions",
    "SEGATTN_GPU_MEMORY": "is the most that is taken of a GPU's memory",
    "SEGATTN_THREADS": "holds segattn to so many threads",
    "SEGATTN_WINOGRAD": "0 computes 3×3 convolutions without Winograd's filtering, slower and to the last digit",
}
#: Kernels of OpenBLAS that use 512-bit vectors.
WIDE_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")


@dataclass
class Report:
    """What was found, and advice; everything is ready for JSON."""

    versions: dict[str, str]
    machine: dict[str, Any]
    blas: list[dict[str, Any]]
    environment: dict[str, str]
    backends: dict[str, str]
    gpu: dict[str, str]  # nothing where there is none
    threads: int  # of the numpy backend
    gflops: dict[str, float]  # of a matrix product, by dtype
    warnings: list[str] = field(default_factory=list)


def examine() -> Report:
    """Look at the machine and time a matrix product: less than a second."""
    auto = get_backend("auto")
    report = Report(
        versions=versions(PACKAGES),
        machine=machine(),
        blas=[blas_library(each) for each in threadpool_info() if each["user_api"] == "blas"],
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        backends={"auto takes": auto.name, "numba": _state("numba"), "cupy": _state("cupy")},
        gpu=gpu() if auto.name == "cupy" else {},
        threads=thread_count(),
        gflops={dtype: matmul_gflops(dtype) for dtype in ("float32", "float64")},
    )
    report.warnings = advice(report)
    return report


def advice(report: Report) -> list[str]:
    """What makes segattn slower here than it could be, each with the way out."""
    warnings = []
    forced = report.environment.get("OPENBLAS_CORETYPE")
    narrow = [each for each in report.blas if each["architecture"] not in (*WIDE_KERNELS, "")]
    if forced and narrow and report.machine["avx512"]:
        warnings.append(
            f"OPENBLAS_CORETYPE={forced} keeps matrix products from this processor's AVX-512, about half its "
            "speed: unset OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE together."
        )
    elif forced:
        warnings.append(
            f"OPENBLAS_CORETYPE={forced} chooses OpenBLAS's kernels by hand: unset it, and OPENBLAS_L2_SIZE with "
            "it, unless you know that they fit this processor."
        )
    cores = report.machine["usable cores"]
    if report.threads < cores:
        limits = [f"{name}={value}" for name, value in report.environment.items() if name.endswith("THREADS")]
        cause = f": unset {' and '.join(limits)}" if limits else ", which is all that BLAS offers"
        warnings.append(f"The numpy backend runs on {report.threads} of {cores} usable cores{cause}.")
    if report.threads > cores:
        warnings.append(
            f"The numpy backend runs {report.threads} threads on {cores} usable cores: set SEGATTN_THREADS={cores}."
        )
    if not report.blas:
        warnings.append("NumPy's BLAS is unknown to threadpoolctl, so its threads cannot be held back.")
    if report.backends["auto takes"] == "numpy":
        warnings.append("Numba is not installed: with it (pip install '.[numba]') training takes 0.6 of the time.")
    if "NPY_DISABLE_CPU_FEATURES" in report.environment:
        warnings.append("NPY_DISABLE_CPU_FEATURES slows NumPy's own loops down: unset it.")
    if report.machine["memory free, GB"] is not None and report.machine["memory free, GB"] < 2:
        warnings.append("Less than 2 GB of memory are free: lower training.batch_size, or predict with --window.")
    return warnings


def machine() -> dict[str, Any]:
    model, flags = _processor()
    return {
        "platform": platform.platform(),
        "processor": model,
        "avx512": "avx512f" in flags,
        "cores": os.cpu_count(),
        "usable cores": _usable_cores(),
        "memory, GB": gigabytes("MemTotal"),
        "memory free, GB": gigabytes("MemAvailable"),
    }


def gpu() -> dict[str, str]:
    """The device that the cupy backend takes, what it computes in, and who convolves."""
    from backends.cupy.device import describe

    return describe()


def _usable_cores() -> int:
    """The cores that this process may run on, by its affinity and its container's share of time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return max(1, min(cores, round(int(quota) / int(period)))) if quota.isdigit() else cores


def _processor() -> tuple[str, list[str]]:
    facts = dict(line.split(":", 1) for line in _read("/proc/cpuinfo").splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return facts.get("model name") or platform.processor() or platform.machine(), facts.get("flags", "").split()


def gigabytes(entry: str) -> float | None:
    """An entry of Linux's /proc/meminfo; elsewhere nobody tells without a further library."""
    sizes = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines())
    return round(int(sizes[entry].split()[0]) / 1e6, 1) if entry in sizes else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def blas_library(info: dict[str, Any]) -> dict[str, Any]:
    return {
        "library": info["internal_api"],
        "version": info["version"] or "",
        "architecture": info.get("architecture") or "",
        "threads": info["num_threads"],
        "threading": info.get("threading_layer") or "",
        "of": Path(info["filepath"]).parent.name.removesuffix(".libs"),
    }


def _state(backend: str) -> str:
    try:
        get_backend(backend)
    except BackendError as error:
        return str(error)
    return "runs"


def matmul_gflops(dtype: str, size: int = 1024, repeats: int = 5) -> float:
    """The best of a few products of two square matrices."""
    a = np.ones((size, size), dtype)
    y = a @ a  # warm up
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(a, a, out=y)
        times.append(time.perf_counter() - start)
    return round(2 * size**3 / min(times) / 1e9, 1)
