"""What a time depends on: the processor, its kernels, threads, versions, and what a matrix product reaches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from threadpoolctl import threadpool_info

from backends.numpy.threads import thread_count
from segattn_cli.doctor import blas_library, machine, matmul_gflops
from segattn_cli.versions import versions

PACKAGES = ("segattn", "numpy", "scipy", "threadpoolctl", "numba", "torch", "cupy-cuda13x")


@dataclass(frozen=True)
class Machine:
    """Where and with what was measured; ready for JSON."""

    machine: dict[str, Any]
    versions: dict[str, str]
    kernels: list[dict[str, Any]]  # of each BLAS: NumPy's, and those that others brought

    @property
    def peak(self) -> float:
        """GFLOP/s of a float32 matrix product."""
        return self.machine["matrix product, GFLOP/s"]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> Machine:
    """Look at the machine and time a matrix product: about a second."""
    gflops = matmul_gflops("float32", size=2048, repeats=20)
    return Machine(
        machine() | {"threads": thread_count(), "matrix product, GFLOP/s": gflops},
        versions(PACKAGES),
        [blas_library(each) for each in threadpool_info() if each["user_api"] == "blas"],
    )
