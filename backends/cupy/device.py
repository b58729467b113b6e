"""Whether this machine can run the backend, and if not, what to do about it."""

from __future__ import annotations

from backends.registry import BackendError

_NO_DEVICE = 100  # cudaErrorNoDevice
_AMPERE = 80  # compute capability 8.0: TF32, bfloat16, and the instructions of our attention of 16 bits
_DRIVER_TOO_OLD = 35  # cudaErrorInsufficientDriver, also where there is no driver at all


def require_device() -> None:
    """Return where CuPy is installed and a device answers; raise :class:`BackendError` otherwise."""
    try:
        import cupy
        import ml_dtypes  # noqa: F401
    except ImportError as error:
        raise BackendError(
            f"The cupy backend needs CuPy and ml_dtypes ({error}): install them with pip install '.[cupy]', "
            "or choose the backend numpy."
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
            "pip install '.[cupy]', or choose the backend numpy."
        ) from error


def select_device(index: str, precision: str) -> None:
    """Use the device ``index`` (of ``cupy:index``; "" for the current one) in ``precision`` from now on.

    Raises :class:`BackendError` for an index that is no device, and for a precision that the device cannot do.
    """
    import cupy

    from backends.cupy.gemm import allow_tf32
    from backends.cupy.memory import limit_memory

    if index:
        count = cupy.cuda.runtime.getDeviceCount()
        if not index.isdigit() or int(index) >= count:
            last = f" to cupy:{count - 1}" if count > 1 else ""
            raise BackendError(f"There is no device cupy:{index}: this machine has cupy:0{last}.")
        cupy.cuda.Device(int(index)).use()
    capability = int(cupy.cuda.Device().compute_capability)
    if precision != "float32" and capability < _AMPERE:
        raise BackendError(
            f"The precision {precision} needs a GPU of compute capability 8.0 (Ampere) or newer, this one has "
            f"{capability // 10}.{capability % 10}: choose float32."
        )
    limit_memory()
    allow_tf32(precision == "tf32")


def _driver_version(cupy: object) -> int:
    try:
        return cupy.cuda.runtime.driverGetVersion()  # type: ignore[attr-defined]
    except Exception:  # the question fails in many ways where there is no driver
        return 0


def _sentence(status: int, driver: int, message: str) -> str:
    """What is wrong and the way out, from CUDA's status and the CUDA version that the driver supports (0: none).

    >>> _sentence(100, 13000, "cudaErrorNoDevice")
    'The cupy backend found no CUDA device: check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose the backend numpy.'
    """
    if status == _DRIVER_TOO_OLD and driver:
        problem = (
            f"found a driver for CUDA {driver // 1000}.{driver % 1000 // 10}, which is older than its CuPy needs: "
            "update the NVIDIA driver or install the CuPy that matches it"
        )
    elif status == _DRIVER_TOO_OLD:
        problem = "found no NVIDIA driver: install one"
    elif status == _NO_DEVICE:
        problem = "found no CUDA device: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    else:
        problem = f"cannot use the CUDA device ({message}): check nvidia-smi"
    return f"The cupy backend {problem}, or choose the backend numpy."
