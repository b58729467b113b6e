"""Which implementations are compared: precisions of a backend, and the variants of its baseline."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

from backends import BackendError, get_backend
from backends.contract import PRECISIONS, Ops
from backends.numpy.threads import thread_count
from segattn_cli.benchmarking.benchmark import Benchmark, Variants

COMPILERS = ("g++", "clang++", "cl")
#: Baselines that run exported networks, with their title and their package.
RUNTIMES = {"onnxruntime": ("ONNX Runtime", "onnxruntime"), "openvino": ("OpenVINO", "openvino")}
BASELINES = ("torch", "reference", *RUNTIMES)


def variants_of(
    benchmark: Benchmark, baseline: str, *, device: str = "cpu", compiled: bool | None = None
) -> Variants:
    """Every variant of ``benchmark`` that ``baseline`` has; the reference has one, in float32."""
    if baseline in RUNTIMES:
        return [] if benchmark.runtime is None else benchmark.runtime(baseline)
    if baseline == "reference":
        return [("reference", partial(benchmark.ours, get_backend("reference"), "float32"))]
    return benchmark.torch(device=device, precision=benchmark.precision, compiled=compiled)


def precisions_of(backend: str, wanted: Sequence[str] = ()) -> list[str]:
    """The precisions ``wanted``, or all that ``backend`` has on this machine.

    Raises :class:`BackendError` for one that it does not have.

    >>> precisions_of("numpy")
    ['float32']
    """
    if wanted:
        for precision in wanted:
            get_backend(backend, precision)
        return list(dict.fromkeys(wanted))
    available = []
    for precision in PRECISIONS:
        with suppress(BackendError):
            get_backend(backend, precision)
            available.append(precision)
    return available


def require_compiler() -> None:
    """Raise :class:`BackendError` where torch.compile has no C++ compiler to call."""
    if not any(map(shutil.which, COMPILERS)):
        raise BackendError(f"torch.compile needs a C++ compiler ({', '.join(COMPILERS)}): leave out --compile.")


def has_torch() -> bool:
    return find_spec("torch") is not None


def require_baseline(baseline: str, ops: Ops) -> None:
    """Raise :class:`BackendError` where the baseline is not installed or cannot be compared; prepare it."""
    if baseline in RUNTIMES:
        _require_runtime(baseline, ops)
    if baseline != "torch":
        return
    if not has_torch():
        raise BackendError("PyTorch is not installed: pip install torch, or compare with --against reference.")
    import torch

    prepare_baseline(baseline)
    if ops.name == "cupy" and not torch.cuda.is_available():
        raise BackendError(
            "This PyTorch finds no GPU: install a CUDA build of it, or compare with --against reference."
        )


def prepare_baseline(baseline: str) -> None:
    """Give PyTorch as many threads as our backends have; the others are told when they load a network."""
    if baseline == "torch":
        import torch

        torch.set_num_threads(thread_count())


def _require_runtime(baseline: str, ops: Ops) -> None:
    title, package = RUNTIMES[baseline]
    if find_spec(package) is None:
        raise BackendError(f"{title} is not installed: pip install {package} onnx, or leave out --against.")
    if find_spec("onnx") is None:
        raise BackendError(f"{title} runs an exported network, which needs the package onnx: pip install onnx.")
    if ops.name == "cupy":
        raise BackendError(f"{title} computes on the CPU here: choose the backend numba or numpy.")
