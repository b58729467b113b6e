"""From a ``.cu`` file to a kernel that runs: compiled once by NVRTC, then kept by CuPy on disk and here."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from backends.cupy.checks import C_TYPES

KERNELS = Path(__file__).parent / "kernels"
_NULL = np.uintp(0)


def launch(file: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run ``kernel``, an instantiation such as ``"softmax_rows<float, 32>"``, of ``kernels/file``.

    Arrays must be contiguous: a kernel sees no strides. Integers are passed as ``int``, floats as ``double``, None
    as a null pointer.
    """
    converted = [_argument(argument) for argument in arguments]
    _compile(file, kernel)(grid, block, tuple(converted))


def c_type(array: cupy.ndarray) -> str:
    """The type of its elements in CUDA C++."""
    return C_TYPES[array.dtype]


def lines(count: int, width: int) -> tuple[tuple[int], tuple[int, int]]:
    """Grid and block where each of ``count`` lines of ``width`` values has a row of threads, 256 a block.

    A warp a line, so that what it works out about its line serves several values; more where lines are few.
    """
    across = 1
    while across < min(width, 256) and (across < 32 or count * across < 2**18):
        across *= 2
    down = 256 // across
    return (_ceil(count, down),), (across, down)


def chunks(pixels: int, channels: int) -> tuple[int, int]:
    """How many chunks to sum ``pixels`` in, and how many pixels each has: enough blocks to fill a GPU."""
    wanted = max(1, min(256, 1024 // _ceil(channels, 32), _ceil(pixels, 32)))
    per_chunk = _ceil(pixels, wanted)
    return _ceil(pixels, per_chunk), per_chunk


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _argument(argument: Any) -> Any:
    if argument is None:
        return _NULL
    if isinstance(argument, (bool, int)):
        return np.int32(argument)
    if isinstance(argument, float):
        return np.float64(argument)
    return argument


@cache
def _source(file: str) -> str:
    # One text, since CuPy's cache of compiled kernels does not look into included headers.
    return (KERNELS / "common.cuh").read_text("utf-8") + (KERNELS / file).read_text("utf-8")


@cache
def _compile(file: str, kernel: str) -> Any:
    module = cupy.RawModule(code=_source(file), options=("-std=c++17",), name_expressions=(kernel,))
    return module.get_function(kernel)
