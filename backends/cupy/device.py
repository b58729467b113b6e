"""Checks that this machine can run the backend, with errors that say what to do."""

from __future__ import annotations

from typing import Any

from backends.contract import PRECISIONS
from backends.errors import BackendError, NotInstalled

_NO_MEMORY = 2  # cudaErrorMemoryAllocation
_UNAVAILABLE = 46  # cudaErrorDevicesUnavailable: another process has the device to itself
_NO_DEVICE = 100  # cudaErrorNoDevice
_AMPERE = 80  # compute capability 8.0: TF32, bfloat16, and the instructions of our attention of 16 bits
_DRIVER_TOO_OLD = 35  # cudaErrorInsufficientDriver, also where there is no driver at all
_INSTEAD = "or choose the backend numpy, which computes in float32"


def require_device() -> None:
    """Raise :class:`BackendError` unless CuPy is installed and finds a device."""
    try:
        import cupy
        import ml_dtypes  # noqa: F401
    except ImportError as error:
        raise NotInstalled(
            f"The cupy backend needs CuPy and ml_dtypes ({_first_line(error)}): install them with pip install "
            f"'segattn[cupy]', {_INSTEAD}."
        ) from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(_sentence(error.status, _driver_version(cupy), str(error))) from error
    try:
        from cupy.cuda import cublas  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "The cupy backend found CuPy without CUDA's libraries (cuBLAS): install them with "
            f"pip install 'segattn[cupy]', {_INSTEAD}."
        ) from error


def select_device(index: str, precision: str) -> None:
    """Use the device ``index`` (of ``cupy:index``; "" for the current one) in ``precision`` from now on.

    Raises :class:`BackendError` for an index without a device, for a device that is too full, too old or used
    exclusively by another process, and for a precision that it does not support.
    """
    import cupy

    from backends.cupy.gemm import allow_tf32
    from backends.cupy.memory import limit_memory

    try:
        _require(cupy, index, precision)
        limit_memory()  # which creates the device's context
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(_sentence(error.status, _driver_version(cupy), str(error))) from error
    allow_tf32(precision == "tf32")


def describe() -> dict[str, str]:
    """Facts about the current device, in words; after :func:`select_device`."""
    import cupy

    from backends.cupy.conv2d import engine
    from backends.cupy.memory import format_bytes

    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)["name"].decode()
    capability = int(device.compute_capability)
    free, total = runtime.memGetInfo()
    limit = cupy.get_default_memory_pool().get_limit()
    by = engine()
    return {
        "device": f"cupy:{device.id} of {runtime.getDeviceCount()}, {name}",
        "compute capability": _dotted(capability),
        "memory": f"{format_bytes(free)} of {format_bytes(total)} free"
        + (f", limit {format_bytes(limit)}" if limit else ""),
        "CUDA": f"driver {_cuda(runtime.driverGetVersion())}, runtime {_cuda(runtime.runtimeGetVersion())}",
        "CuPy": cupy.__version__,
        "precisions": ", ".join(_precisions(capability)),
        "convolutions": by if by == "products" else f"{by} in tf32, float16 and bfloat16, products in float32",
    }


def _precisions(capability: int) -> tuple[str, ...]:
    """
    >>> _precisions(75), _precisions(80)
    (('float32',), ('float32', 'tf32', 'float16', 'bfloat16'))
    """
    return PRECISIONS if capability >= _AMPERE else ("float32",)


def _require(cupy: Any, index: str, precision: str) -> None:
    """Use a device, if it exists and supports the precision."""
    if index:
        count = cupy.cuda.runtime.getDeviceCount()
        if not index.isdecimal() or int(index) >= count:
            last = f" to cupy:{count - 1}" if count > 1 else ""
            raise BackendError(f"There is no device cupy:{index}: this machine has cupy:0{last}.")
        cupy.cuda.Device(int(index)).use()
    capability = int(cupy.cuda.Device().compute_capability)
    _require_compiler(cupy, capability)
    if precision not in _precisions(capability):
        raise BackendError(
            f"The precision {precision} needs a GPU of compute capability {_dotted(_AMPERE)} (Ampere) or newer, "
            f"this one has {_dotted(capability)}: choose float32."
        )


def _require_compiler(cupy: Any, capability: int) -> None:
    """Check that this CUDA compiles for the GPU: on an older one, the first kernel would fail."""
    nvrtc = getattr(cupy.cuda, "nvrtc", None)
    if nvrtc is None:  # the tests' stand-in for CuPy has none
        return
    try:
        oldest = min(nvrtc.getSupportedArchs())
    except (RuntimeError, ImportError) as error:
        raise BackendError(
            "The cupy backend found CuPy without CUDA's compiler (NVRTC): install it with "
            f"pip install 'segattn[cupy]', {_INSTEAD}."
        ) from error
    if capability < oldest:
        raise BackendError(
            f"CuPy's compiler makes kernels for compute capability {_dotted(oldest)} and newer, and this GPU has "
            f"{_dotted(capability)}: install the CuPy of an earlier CUDA, such as cupy-cuda12x, {_INSTEAD}."
        )


def _driver_version(cupy: Any) -> int:
    try:
        return int(cupy.cuda.runtime.driverGetVersion())
    except Exception:  # of many types if there is no driver
        return 0


def _sentence(status: int, driver: int, message: str) -> str:
    """The problem and its remedy, from CUDA's status and the CUDA version that the driver supports (0: none).

    >>> _sentence(100, 13000, "cudaErrorNoDevice")
    'The cupy backend found no CUDA device: check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose the backend \
numpy, which computes in float32.'
    """
    if status == _DRIVER_TOO_OLD and driver:
        problem = (
            f"found a driver for CUDA {_cuda(driver)}, which is older than its CuPy needs: "
            "update the NVIDIA driver or install the CuPy that matches it"
        )
    elif status == _DRIVER_TOO_OLD:
        problem = "found no NVIDIA driver: install one"
    elif status == _NO_DEVICE:
        problem = "found no CUDA device: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    elif status == _NO_MEMORY:
        problem = "found too little free memory on the GPU: end other processes that use it (see nvidia-smi)"
    elif status == _UNAVAILABLE:
        problem = "found a GPU that another process uses exclusively: wait for it, or choose another GPU, as cupy:1"
    else:
        problem = f"cannot use the CUDA device ({_first_line(message)}): check nvidia-smi"
    return f"The cupy backend {problem}, {_INSTEAD}."


def _dotted(capability: int) -> str:
    """
    >>> _dotted(75), _dotted(120)
    ('7.5', '12.0')
    """
    return f"{capability // 10}.{capability % 10}"


def _cuda(version: int) -> str:
    """
    >>> _cuda(13020)
    '13.2'
    """
    return f"{version // 1000}.{version % 1000 // 10}"


def _first_line(text: object) -> str:
    return str(text).partition("\n")[0].strip()
