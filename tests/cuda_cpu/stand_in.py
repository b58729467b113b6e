"""A stand-in for CuPy, on a machine without a GPU: NumPy computes, g++ runs the kernels, CuPy gives the names.

``python -m pytest -p tests.cuda_cpu.plugin …`` runs tests of the backend on it. :func:`install` puts it in the
place of ``cupy`` for the whole process. What it has is what the backend needs; each of its names is one of the real
package's, which has to be installed but needs no driver.

A kernel is launched as on a device, from the table of addresses that :mod:`backends.cupy.launch` makes for the
driver. It runs four times, with other orders of its threads, on the same memory; what it leaves must be the same.
"""

from __future__ import annotations

import ctypes
import inspect
import itertools
import sys
import types
import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no driver
    import cupy as real

from . import cublas, nccl
from .compiled import ORDERS, CompiledKernel
from .device_array import empty, ndarray, on_device, to_device
from .device_memory import UNWRITTEN, DeviceError, Memory, memory_at, memory_of
from .launches import Seen

_MEMORY_BYTES = 80 * 10**9
_A_NUMBER = 0x5A  # each byte of one: 1.5e16 in float32, 203 in float16
_kernels: dict[int, CompiledKernel] = {}
_handles = itertools.count(1)
seen = Seen()


class RawModule:
    """Compiles when a kernel is asked for."""

    def __init__(self, *, code: str, options: tuple[str, ...], name_expressions: tuple[str, ...]) -> None:
        self._code, self._options, self._names = code, options, name_expressions

    def get_function(self, name: str) -> types.SimpleNamespace:
        if name not in self._names:
            raise DeviceError(f"The module was not told of the kernel {name}.")
        handle = next(_handles)
        _kernels[handle] = CompiledKernel(self._code, name)
        seen.options.add(self._options)
        return types.SimpleNamespace(kernel=types.SimpleNamespace(ptr=handle))


def launch_kernel(
    function: int, grid_x: int, grid_y: int, grid_z: int, block_x: int, block_y: int, block_z: int,
    shared_bytes: int, stream: int, arguments: int, extra: int,
) -> None:  # fmt: skip
    """Run a kernel in every order, each on the memory as it was before; the results must be the same bits."""
    kernel = _kernels[function]
    grid, block = (grid_x, grid_y, grid_z), (block_x, block_y, block_z)
    memories = _memories_of(kernel, arguments)
    before = [memory.bytes.copy() for memory in memories]
    results: list[np.ndarray] = []
    for order, guard in zip(ORDERS, itertools.cycle((UNWRITTEN, _A_NUMBER))):
        for memory, values in zip(memories, before, strict=True):
            memory.bytes[...] = values
            memory.set_guards(guard)
        kernel.run(grid, block, arguments, order)
        for memory in memories:
            memory.check_guards(guard, kernel.name)
        if not results:
            results = [memory.bytes.copy() for memory in memories]
        elif not all(np.array_equal(*pair) for pair in zip(results, (m.bytes for m in memories), strict=True)):
            raise DeviceError(f"{kernel.name}: what it computes depends on the order of its threads.")


def _memories_of(kernel: CompiledKernel, arguments: int) -> list[Memory]:
    """All memory that the kernel is told of, by an argument or in a table of addresses."""
    found = {}
    slots = (ctypes.c_void_p * len(kernel.parameters)).from_address(arguments)
    for n, (kind, slot) in enumerate(zip(kernel.parameters, slots, strict=True)):
        address = ctypes.c_uint64.from_address(slot).value if kind.startswith("*") else 0
        if not address:
            continue
        memory = memory_of(address, 1, f"{kernel.name}: argument {n}")
        found[memory.address] = memory
        if kind == "*uint64":
            pointed_at = map(memory_at, memory.bytes.view(np.uint64).tolist())
            found |= {each.address: each for each in pointed_at if each}
    return list(found.values())


def check_arguments(kernel: CompiledKernel, arguments: tuple[Any, ...]) -> None:
    """What a driver does not see: how many arguments there are, their types, and that a kernel knows no strides."""
    if len(arguments) != len(kernel.parameters):
        raise DeviceError(f"{kernel.name}: {len(arguments)} arguments for {len(kernel.parameters)} parameters.")
    for n, (wanted, given) in enumerate(zip(kernel.parameters, arguments, strict=True)):
        if not _fits(wanted, given):
            raise DeviceError(f"{kernel.name}: argument {n} is {_kind(given)}, the kernel wants {wanted}.")
        if isinstance(given, ndarray) and not given.flags.c_contiguous:
            raise DeviceError(f"{kernel.name}: argument {n} is not contiguous.")


def _fits(wanted: str, given: Any) -> bool:
    kind = _kind(given)
    if wanted == "*16bytes":  # of any type
        return kind.startswith("*") and given.nbytes % 16 == 0
    return kind == wanted or (given is None and wanted.startswith("*"))


def _kind(given: Any) -> str:
    """The type of an argument as the signature of a kernel names it."""
    if isinstance(given, ndarray):
        return f"*{given.dtype.name}"
    kinds = {bool: "int32", int: "int32", float: "float64", np.int64: "int64"}
    kind = kinds.get(type(given), type(given).__name__)
    return kind if kind != "int32" or -(2**31) <= given < 2**31 else "beyond int32"


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    host = np.asarray(a._host if isinstance(a, ndarray) else a, dtype=dtype, order=order)
    array: ndarray = to_device(host)
    return array


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


class _Nothing:
    """A stream, an event or a device: there is nothing to wait for."""

    ptr = 0
    id = 0
    compute_capability = "90"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _nothing(self, *args: Any) -> None:
        pass

    use = synchronize = record = wait_event = _nothing


class _Pool:
    def free_bytes(self) -> int:
        return 0

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def get_limit(self) -> int:
        return 0


class _Module(types.ModuleType):
    """A module with some of the names of a real one, and none that it has not."""

    def __init__(self, name: str, **contents: Any) -> None:
        super().__init__(name)
        vars(self).update(contents)
        sys.modules[name] = self


class _CuPy(_Module):
    """NumPy's functions under CuPy's names, with CuPy's parameters."""

    def __getattr__(self, name: str) -> Any:
        original, numpys = getattr(real, name), getattr(np, name)
        if name.startswith("__") or isinstance(numpys, type) or not callable(numpys):
            return numpys
        compute = on_device(numpys)
        if isinstance(original, real.ufunc):  # exp, log: their signature cannot be inspected
            return compute
        signature = inspect.signature(original)

        def call(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)
            return compute(*args, **kwargs)

        return call


def install() -> None:
    """Be ``cupy`` for this process."""
    pool = _Pool()
    runtime = _Module(
        "cupy.cuda.runtime", getDeviceCount=lambda: 1, memGetInfo=lambda: (_MEMORY_BYTES, _MEMORY_BYTES),
        driverGetVersion=lambda: 13000, CUDARuntimeError=real.cuda.runtime.CUDARuntimeError,
    )  # fmt: skip
    cuda = _Module(
        "cupy.cuda", runtime=runtime, Stream=_Nothing, Event=_Nothing, Device=_Nothing,
        driver=_Module("cupy.cuda.driver", launchKernel=launch_kernel),
        cublas=_Module(
            "cupy.cuda.cublas", gemmEx=cublas.gemmEx, gemmStridedBatchedEx=cublas.gemmStridedBatchedEx
        ),
        nccl=nccl, device=_Module("cupy.cuda.device", get_cublas_handle=lambda: 1),
        get_current_stream=_Nothing, get_device_id=lambda: 0, is_available=lambda: True,
    )  # fmt: skip
    _CuPy(
        "cupy", cuda=cuda, ndarray=ndarray, empty=empty, asarray=asarray, array=asarray, asnumpy=asnumpy,
        RawModule=RawModule, get_default_memory_pool=lambda: pool,
    )  # fmt: skip

    sys.modules["cupy.cuda.nccl"] = nccl

    import backends.cupy  # noqa: F401

    launch = sys.modules["backends.cupy.launch"]
    start = launch.start

    def checked_start(function: int, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        check_arguments(_kernels[function], arguments)
        seen.note(_kernels[function], block)
        start(function, grid, block, arguments)

    launch.start = checked_start
