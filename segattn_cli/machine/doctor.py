"""What segattn finds on this machine, and advice on what makes it slower than it could be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from backends import BackendError, get_backend
from backends.numpy.threads import thread_count
from segattn_cli.machine.facts import blas_libraries, hardware, matmul_gflops
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
    warnings: tuple[str, ...] = ()


def diagnose() -> Diagnosis:
    """Gather the facts and time a matrix product: less than a second."""
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
    cores = diagnosis.machine["usable cores"]
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


def _state(backend: str) -> str:
    try:
        get_backend(backend)
    except BackendError as error:
        return str(error)
    return "runs"
