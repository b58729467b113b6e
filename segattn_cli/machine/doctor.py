"""What segattn finds on this machine, and advice on what makes it slower than it could be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backends import BackendError, get_backend
from backends.numpy.threads import thread_count
from segattn_cli.machine.facts import blas_libraries, cores_obtained, hardware, matmul_gflops
from segattn_cli.machine.versions import versions

PACKAGES = (
    "segattn", "numpy", "scipy", "threadpoolctl", "pillow", "safetensors", "pydantic", "typer", "rich",
    "matplotlib", "numba", "cupy-cuda13x", "nvidia-cudnn-frontend", "onnx", "onnxruntime",
)  # fmt: skip
#: Environment variables and what each does.
VARIABLES = {
    "OPENBLAS_CORETYPE": "makes OpenBLAS use the kernels for that processor, whatever this one is",
    "OPENBLAS_L2_SIZE": "replaces the size of the cache that OpenBLAS detects, in kB",
    "OPENBLAS_NUM_THREADS": "limits OpenBLAS to so many threads",
    "GOTO_NUM_THREADS": "limits OpenBLAS to so many threads",
    "OMP_NUM_THREADS": "limits BLAS to so many threads",
    "MKL_NUM_THREADS": "limits MKL to so many threads",
    "NPY_DISABLE_CPU_FEATURES": "turns vector instructions off in NumPy's own loops",
    "SEGATTN_GPU_MEMORY": "limits the memory that segattn takes of a GPU",
    "SEGATTN_THREADS": "limits segattn to so many threads",
    "SEGATTN_WINOGRAD": "0 turns Winograd's algorithm off: 3×3 convolutions are slower, and rounded less",
}
#: The part of the cores without which the machine is called busy.
BUSY = 0.85
#: Kernels of OpenBLAS that use 512-bit vectors.
WIDE_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")


@dataclass(frozen=True)
class Diagnosis:
    """Facts about the installation and the machine, and warnings; ready for JSON."""

    versions: dict[str, str]
    machine: dict[str, Any]
    blas: list[dict[str, Any]]
    environment: dict[str, str]
    backends: dict[str, str]
    gpu: dict[str, str]  # empty where there is none
    threads: int  # of the numpy backend
    gflops: dict[str, float]  # of a matrix product, by dtype
    cores_obtained: float  # by these threads, beside everything else that runs
    warnings: tuple[str, ...] = ()


def diagnose() -> Diagnosis:
    """Gather the facts, time a matrix product, and look how busy the machine is: about a second."""
    auto = get_backend("auto")
    gpu = {}
    if auto.name == "cupy":
        from backends.cupy.device import describe

        gpu = describe()
    diagnosis = Diagnosis(
        versions=versions(PACKAGES),
        machine=hardware(),
        blas=blas_libraries(),
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        backends={"auto takes": auto.name, "numba": _state("numba"), "cupy": _state("cupy")},
        gpu=gpu,
        threads=thread_count(),
        gflops={dtype: matmul_gflops(dtype) for dtype in ("float32", "float64")},
        cores_obtained=round(cores_obtained(thread_count()), 2),
    )
    return replace(diagnosis, warnings=tuple(advice(diagnosis)))


def advice(diagnosis: Diagnosis) -> Iterator[str]:
    """Sentences about what slows segattn down on this machine, each with the way out."""
    forced = diagnosis.environment.get("OPENBLAS_CORETYPE")
    narrow = [each for each in diagnosis.blas if each["architecture"] not in (*WIDE_KERNELS, "")]
    if forced and narrow and diagnosis.machine["avx512"]:
        yield (
            f"OPENBLAS_CORETYPE={forced} keeps matrix products from this processor's AVX-512, about half its "
            "speed: unset OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE together."
        )
    elif forced:
        yield (
            f"OPENBLAS_CORETYPE={forced} chooses OpenBLAS's kernels by hand: unset it, and OPENBLAS_L2_SIZE with "
            "it, unless you know that they fit this processor."
        )
    yield from _advice_on_cores(diagnosis.machine)
    cores = diagnosis.machine["usable cores"]
    runnable = min(diagnosis.threads, diagnosis.machine["quota, cores"] or cores, cores)
    if diagnosis.cores_obtained < BUSY * runnable:
        load = diagnosis.machine["load"]
        yield (
            f"Other programs are busy{'' if load is None else f' (load {load:g})'}: {_threads(diagnosis.threads)} "
            f"of segattn got {diagnosis.cores_obtained:.1f} of {runnable:g} cores just now, so that a computation "
            f"takes about {runnable / max(diagnosis.cores_obtained, 0.01):.1f} times as long. End them, or wait."
        )
    if diagnosis.threads < cores:
        limits = [f"{name}={value}" for name, value in diagnosis.environment.items() if name.endswith("THREADS")]
        cause = f": unset {' and '.join(limits)}" if limits else ", which is all that BLAS offers"
        yield f"The numpy backend runs on {diagnosis.threads} of {cores} usable cores{cause}."
    if diagnosis.threads > cores:
        yield f"The numpy backend runs {diagnosis.threads} threads on {cores} cores: set SEGATTN_THREADS={cores}."
    if not diagnosis.blas:
        yield "threadpoolctl does not know NumPy's BLAS, so segattn cannot limit its threads."
    if diagnosis.backends["auto takes"] == "numpy":
        yield "Numba is not installed: with it (pip install 'segattn[numba]') training takes 0.6 of the time."
    if "NPY_DISABLE_CPU_FEATURES" in diagnosis.environment:
        yield "NPY_DISABLE_CPU_FEATURES slows NumPy's own loops down: unset it."
    if diagnosis.machine["memory free, GB"] is not None and diagnosis.machine["memory free, GB"] < 2:
        yield "Less than 2 GB of memory are free: lower training.batch_size, or predict with --window."


def _advice_on_cores(machine: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about limits of this process, which other processes do not have."""
    cores, allowed, quota = machine["cores"], machine["allowed cores"], machine["quota, cores"]
    if cores is not None and allowed < cores:
        yield f"The affinity of this process allows {allowed} of {cores} cores (taskset, a batch system): widen it."
    if quota is not None and quota < allowed:
        yield (
            f"A quota gives this process the time of {quota:g} of {allowed} cores, so that it computes at "
            f"{quota / allowed:.0%} of the speed: raise it (docker --cpus, CPUQuota of systemd, cpu.max)."
        )


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def _state(backend: str) -> str:
    try:
        get_backend(backend)
    except BackendError as error:
        return str(error)
    return "runs"
