"""Every kernel that the backend can ask for, found by running its wrappers.

``python -m tests.cuda_cpu.launches`` runs all cases of ``tests/backends/cupy/test_ops.py`` in every dtype, forward
and backward, with NumPy in the place of CuPy. Matrix products are left out and kernels do nothing, so values mean
nothing; what is launched depends on shapes and dtypes alone. It prints JSON, which :func:`find_launches` reads:
in a process of its own nobody else notices that CuPy was replaced.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
_WIDEST_ROW = 17_000  # beyond the longest row that softmax keeps in registers


class Launches(NamedTuple):
    sources: dict[str, str]  # .cu file → the text that NVRTC gets
    options: list[str]  # what the backend tells NVRTC
    types: list[str]  # what its dtypes are in CUDA C++
    threads: dict[str, dict[str, int]]  # .cu file → instantiation → threads of its largest block
    places: set[tuple[str, int]]  # wrapper file and line of each launch


def find_launches() -> Launches:
    """Ask a fresh process what the wrappers launch."""
    command = [sys.executable, "-m", "tests.cuda_cpu.launches"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    places = {(file, line) for file, line in found.pop("places")}
    return Launches(**found, places=places)


class _Recorder:
    """Notes each launch and lets it go on, to a module that compiles nothing."""

    def __init__(self) -> None:
        self.programs: dict[str, tuple[str, tuple[str, ...]]] = {}  # instantiation → source and options
        self.threads: dict[str, dict[str, int]] = {}
        self.places: set[tuple[str, int]] = set()

    def raw_module(self, *, code: str, options: tuple[str, ...], name_expressions: tuple[str]) -> Any:
        (kernel,) = name_expressions
        self.programs[kernel] = code, options
        return types.SimpleNamespace(get_function=lambda _: lambda grid, block, arguments: None)

    def around(self, launch: Any) -> Any:
        def noted(file: str, kernel: str, grid: Any, block: tuple[int, ...], *arguments: Any) -> None:
            caller = sys._getframe(1)
            self.places.add((Path(caller.f_code.co_filename).name, caller.f_lineno))
            kernels = self.threads.setdefault(file, {})
            kernels[kernel] = max(kernels.get(kernel, 0), math.prod(block))
            launch(file, kernel, grid, block, *arguments)

        return noted

    def found(self) -> dict[str, Any]:
        (options,) = {options for _, options in self.programs.values()}
        return {
            "sources": {file: self.programs[next(iter(kernels))][0] for file, kernels in self.threads.items()},
            "options": options,
            "threads": self.threads,
            "places": sorted(self.places),
        }


def _replace_cupy(recorder: _Recorder) -> None:
    """NumPy under CuPy's name, with what only CuPy has; fresh memory is 0, so that nothing overflows."""
    device = _module("cupy.cuda.device", get_cublas_handle=None)
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError)
    cuda = _module("cupy.cuda", cublas=None, device=device, runtime=runtime)
    only_cupys = {
        "empty": np.zeros,
        "empty_like": np.zeros_like,
        "asnumpy": np.asarray,
        "cuda": cuda,
        "ElementwiseKernel": lambda *_: lambda first, *_: first,
        "RawModule": recorder.raw_module,
    }
    _module("cupy", **{name: value for name, value in vars(np).items() if name[0] != "_"} | only_cupys)


def _module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
    return module


def _record() -> dict[str, Any]:
    recorder = _Recorder()
    _replace_cupy(recorder)
    import backends.cupy as ops
    from backends.cupy.checks import C_TYPES

    from ..backends.cupy.test_ops import CASES

    wrappers = [module for name, module in sys.modules.items() if name.startswith("backends.cupy.")]
    for module in wrappers:
        if module.__name__ != "backends.cupy.launch" and hasattr(module, "launch"):
            vars(module).update(launch=recorder.around(module.launch))
        if module.__name__ != "backends.cupy.gemm" and hasattr(module, "gemm"):
            vars(module).update(gemm=lambda a, b, out, *, accumulate=False: out)

    rows = sys.modules["backends.cupy.softmax"]  # the package's own name for it is that of the function

    for dtype in C_TYPES:
        for op, inputs, options in CASES.values():
            arrays = [_cast(value, dtype) for value in inputs]
            y, cache = getattr(ops, op)(*arrays, **{name: _cast(value, dtype) for name, value in options.items()})
            getattr(ops, f"{op}_backward")(np.ones_like(y), cache)
        for width in range(1, _WIDEST_ROW):
            row = np.broadcast_to(dtype.type(0), (1, width))
            rows.softmax_rows(row, row)
            rows.softmax_rows_backward(row, row, row)
    return recorder.found() | {"types": list(C_TYPES.values())}


def _cast(value: Any, dtype: np.dtype) -> Any:
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        json.dump(_record(), sys.stdout)
