"""From a ``.cu`` file to a kernel that runs: compiled once by NVRTC, then kept by CuPy on disk and here."""

from __future__ import annotations

import re
import struct
import threading
from functools import cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from cupy.cuda import driver

from backends.cupy.checks import C_TYPES

KERNELS = Path(__file__).parent / "kernels"
#: Blocks of 256 threads that keep the largest card busy; more only repeat what each does at its start.
BLOCKS = 1024


def launch(file: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run ``kernel``, an instantiation such as ``"softmax_rows<float, 32>"``, of ``kernels/file``.

    Arrays must be contiguous: a kernel sees no strides. Integers are passed as ``int``, floats as ``double``,
    ``numpy.int64`` as ``long long``, None as a null pointer.
    """
    start(_compile(file, kernel), grid, block, arguments)


def start(function: int, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Queue a kernel by its handle. CuPy's own way costs the host several times as much, mostly for the numbers."""
    kinds = tuple(map(type, arguments))
    try:
        slots = _slots.of[kinds]
    except KeyError:
        slots = _slots.of[kinds] = _Slots(kinds)
    slots.fill(slots.buffer, 0, *[each.data.ptr if type(each) is cupy.ndarray else each or 0 for each in arguments])
    stream = cupy.cuda.get_current_stream().ptr
    driver.launchKernel(function, *(*grid, 1, 1)[:3], *(*block, 1, 1)[:3], 0, stream, slots.address, 0)


class _Slots:
    """Where the arguments of a launch lie for the driver, 8 bytes each; it has read them when it returns."""

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.fill = struct.Struct("<" + "".join([_FORMATS.get(kind, "Q") for kind in kinds])).pack_into
        self.buffer = bytearray(8 * len(kinds))
        first = np.frombuffer(self.buffer, np.uint64).ctypes.data
        self._addresses = first + np.arange(0, 8 * len(kinds), 8, dtype=np.uint64)
        self.address = int(self._addresses.ctypes.data)


#: How an argument of a type lies in its slot; all others are arrays or None, and addresses.
_FORMATS = {bool: "i4x", int: "i4x", float: "d", np.int64: "q"}


class _SlotsOfThread(threading.local):
    def __init__(self) -> None:
        self.of: dict[tuple[type, ...], _Slots] = {}


_slots = _SlotsOfThread()


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


def vector_width(values: int, itemsize: int) -> int:
    """How many neighbours make 16 bytes, what a thread reads best; 1 where they do not divide ``values``."""
    width = 16 // itemsize
    return width if values % width == 0 else 1


def chunks(pixels: int, blocks: int) -> tuple[int, int]:
    """How many chunks to sum ``pixels`` in, and how many pixels each has, where ``blocks`` cover the channels.

    Together they fill half a GPU: the fewer they are, the sooner are their sums summed.
    """
    wanted = max(1, min(BLOCKS // 2 // blocks, _ceil(pixels, 32)))
    per_chunk = _ceil(pixels, wanted)
    return _ceil(pixels, per_chunk), per_chunk


def source(file: str) -> str:
    """The text of a file with its headers: CuPy's cache of compiled kernels does not look into them."""
    text = _read("common.cuh") + _read(file)
    return re.sub(r'#include "(\w+\.cuh)"\n', lambda header: _read(header[1]), text)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _read(file: str) -> str:
    return (KERNELS / file).read_text("utf-8")


@cache
def _compile(file: str, kernel: str) -> int:
    """The handle of a kernel, on the one device that a process uses."""
    module = cupy.RawModule(code=source(file), options=("-std=c++17",), name_expressions=(kernel,))
    _modules.append(module)
    handle: int = module.get_function(kernel).kernel.ptr
    return handle


_modules: list[cupy.RawModule] = []  # a kernel lives as long as its module
