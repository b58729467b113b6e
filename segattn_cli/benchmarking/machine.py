"""What a time depends on: processor, GPU, kernels, threads, versions, commit, and the speed of a matrix product."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from backends import get_backend
from backends.numpy.threads import thread_count
from backends.precision import array_dtype
from segattn_cli.machine.facts import blas_libraries, hardware, matmul_gflops
from segattn_cli.machine.versions import versions

PACKAGES = (
    "segattn", "numpy", "scipy", "threadpoolctl", "numba", "torch", "onnxruntime", "openvino", "cupy-cuda13x",
)  # fmt: skip
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machine:
    """Where and with what was measured; ready for JSON."""

    machine: dict[str, Any]
    versions: dict[str, str]
    kernels: list[dict[str, Any]]  # of each BLAS: NumPy's, and those that others brought
    commit: str = "unknown"
    changed: bool | None = None  # whether files differed from that commit; None where nobody knows

    @property
    def peaks(self) -> Mapping[str, float]:
        """GFLOP/s of a matrix product, by precision."""
        return self.machine["matrix product, GFLOP/s"]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(backend: str = "numpy", precisions: Sequence[str] = ("float32",), commit: str | None = None) -> Machine:
    """Look at the machine and time matrix products: about a second. ``commit`` is for where git cannot tell."""
    facts = hardware() | {"threads": thread_count(), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
    libraries = versions(PACKAGES)
    if backend.startswith("cupy"):
        from segattn_cli.benchmarking import cuda

        facts |= cuda.describe()
        libraries |= cuda.versions()
        peaks = {}
        for precision in precisions:
            get_backend(backend, precision)  # which sets how float32 is multiplied
            peaks[precision] = cuda.matmul_gflops(array_dtype(precision))
    else:
        peaks = {"float32": matmul_gflops("float32", size=2048, repeats=20)}
    head, changed = (commit, None) if commit else checkout()
    return Machine(
        facts | {"matrix product, GFLOP/s": peaks},
        libraries,
        blas_libraries(),
        head or "unknown",
        changed,
    )


def checkout(folder: Path = CHECKOUT) -> tuple[str | None, bool | None]:
    """The commit that ``folder`` is a checkout of, and whether files differ from it; None where git cannot tell."""
    if not (folder / ".git").exists():  # installed; a repository further up is another one
        return None, None
    git = ("git", "-C", str(folder))
    with suppress(OSError, subprocess.CalledProcessError):
        run = partial(subprocess.run, capture_output=True, text=True, check=True)
        head = run([*git, "rev-parse", "--short", "HEAD"]).stdout.strip()
        changes = run([*git, "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
        return head, bool(changes)
    return None, None
