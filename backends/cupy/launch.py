"""Compile the kernels of a ``.cu`` file, once by NVRTC (CuPy caches them on disk), and launch them."""

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
#: Blocks of 256 threads that occupy the largest GPU; more would only repeat the work at the start of each.
BLOCKS = 1024


def launch(file: str, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run ``kernel``, an instantiation such as ``"softmax_rows<float, 32>"``, of ``kernels/file``.

    Arrays must be contiguous, since a kernel gets no strides. Integers are passed as ``int``, floats as ``double``,
    ``numpy.int64`` as ``long long``, None as a null pointer.
    """
    start(_compile(file, kernel, cupy.cuda.get_device_id()), grid, block, arguments)


def start(function: int, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Queue a kernel by its handle. CuPy's own call takes the host several times as long, mostly for numbers."""
    kinds = tuple(map(type, arguments))
    try:
        slots = _slots.of[kinds]
    except KeyError:
        slots = _slots.of[kinds] = _Slots(kinds)
    slots.fill(slots.buffer, 0, *[each.data.ptr if type(each) is cupy.ndarray else each or 0 for each in arguments])
    stream = cupy.cuda.get_current_stream().ptr
    driver.launchKernel(function, *(*grid, 1, 1)[:3], *(*block, 1, 1)[:3], 0, stream, slots.address, 0)


class _Slots:
    """The arguments of a launch in memory, 8 bytes each; the driver has read them when the call returns."""

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.fill = struct.Struct("<" + "".join([_FORMATS.get(kind, "Q") for kind in kinds])).pack_into
        self.buffer = bytearray(8 * len(kinds))
        first = np.frombuffer(self.buffer, np.uint64).ctypes.data
        self._addresses = first + np.arange(0, 8 * len(kinds), 8, dtype=np.uint64)
        self.address = int(self._addresses.ctypes.data)


#: The format of an argument in its slot, by type; all others are arrays or None, stored as addresses.
_FORMATS = {bool: "i4x", int: "i4x", float: "d", np.int64: "q"}


class _SlotsOfThread(threading.local):
    def __init__(self) -> None:
        self.of: dict[tuple[type, ...], _Slots] = {}


_slots = _SlotsOfThread()


def c_type(array: cupy.ndarray) -> str:
    """The type of the elements in CUDA C++."""
    return C_TYPES[array.dtype]


def lines(count: int, width: int) -> tuple[tuple[int], tuple[int, int]]:
    """Grid and block with a row of threads for each of ``count`` lines of ``width`` values, 256 threads a block.

    A row is a warp, so that a thread computes several values of its line; more threads if there are few lines.
    """
    across = 1
    while across < min(width, 256) and (across < 32 or count * across < 2**18):
        across *= 2
    down = 256 // across
    return (_ceil(count, down),), (across, down)


def vector_width(values: int, itemsize: int) -> int:
    """The number of values in 16 bytes, which a thread reads fastest; 1 if it does not divide ``values``."""
    width = 16 // itemsize
    return width if values % width == 0 else 1


def chunks(pixels: int, blocks: int) -> tuple[int, int]:
    """The number of chunks to sum ``pixels`` in and the pixels of each, if ``blocks`` cover the channels.

    Together they fill half a GPU: with fewer chunks, their sums are added up sooner.
    """
    wanted = max(1, min(BLOCKS // 2 // blocks, _ceil(pixels, 32)))
    per_chunk = _ceil(pixels, wanted)
    return _ceil(pixels, per_chunk), per_chunk


def source(file: str) -> str:
    """The text of a file with its headers, which CuPy's cache of compiled kernels does not read."""
    text = _read("common.cuh") + _read(file)
    return re.sub(r'#include "(\w+\.cuh)"\n', lambda header: _read(header[1]), text)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _read(file: str) -> str:
    return (KERNELS / file).read_text("utf-8")


@cache
def _compile(file: str, kernel: str, device: int) -> int:
    """The handle of a kernel on ``device``, which is the current one; on another one it is invalid."""
    module = cupy.RawModule(code=source(file), options=("-std=c++17",), name_expressions=(kernel,))
    _modules.append(module)
    handle: int = module.get_function(kernel).kernel.ptr
    return handle


_modules: list[cupy.RawModule] = []  # a kernel lives as long as its module
