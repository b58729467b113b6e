"""The memory of the device: its size, its limit, and errors when it is not enough."""

from __future__ import annotations

import os
from functools import cache

import cupy

from backends.errors import BackendError

#: Environment variable for the limit of CuPy's memory pool: ``8GB``, ``500MB``, or ``50%`` of the device.
LIMIT = "SEGATTN_GPU_MEMORY"
#: The libraries alone need about as much.
LEAST_FREE = 300 * 10**6
_UNITS = {"GB": 10**9, "MB": 10**6, "%": 0}


def free_bytes() -> int:
    """The memory that this process could allocate on the current device when this was first called.

    The answer does not change, so that the blocks of an op, and with them the last bits of its results, do not
    either.
    """
    return _free_bytes(cupy.cuda.get_device_id())


@cache
def _free_bytes(device: int) -> int:
    pool = cupy.get_default_memory_pool()
    free = int(cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(free, limit - int(pool.used_bytes())) if limit else free


def limit_memory() -> None:
    """Limit CuPy's pool to :data:`LIMIT`, if that is set.

    Raises :class:`BackendError` if the limit is no size, or if the device has too little free memory.
    """
    free, total = cupy.cuda.runtime.memGetInfo()
    pool = cupy.get_default_memory_pool()
    if free + pool.total_bytes() < LEAST_FREE:
        raise BackendError(
            f"The GPU has {format_bytes(free)} of its {format_bytes(total)} free, which is too little: end other "
            "processes that use it (see nvidia-smi), or choose the backend numpy, which computes in float32."
        )
    if text := os.environ.get(LIMIT):
        limit = parse_limit(text, total)
        pool.set_limit(size=limit)


def parse_limit(text: str, total: int) -> int:
    """A limit in bytes, of a device that has ``total``.

    >>> parse_limit("8GB", 10**11), parse_limit("500 mb", 10**11), parse_limit("50%", 10**11)
    (8000000000, 500000000, 50000000000)
    """
    number, unit = text.strip().upper(), ""
    for each in _UNITS:
        if number.endswith(each):
            number, unit = number.removesuffix(each).strip(), each
    try:
        bytes_ = int(float(number) * (total / 100 if unit == "%" else _UNITS[unit]))
    except (ValueError, KeyError, OverflowError):
        bytes_ = 0
    if bytes_ <= 0:
        raise BackendError(f"{LIMIT} is {text!r}, wants a size such as 8GB, 500MB or 50%.")
    return bytes_


def out_of_memory(error: Exception) -> str:
    """A clause that says how much memory was missing, and of how much; the caller adds the remedy."""
    try:
        free, total = cupy.cuda.runtime.memGetInfo()
    except cupy.cuda.runtime.CUDARuntimeError:  # the device is so full that it has no context
        return str(error)
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    missing = getattr(error, "_size", 0)
    allowed = f", of the {format_bytes(limit)} that {LIMIT} allows" if limit else ""
    return (
        f"the GPU could not allocate {format_bytes(missing) + ' more' if missing else 'more'}: segattn holds "
        f"{format_bytes(pool.used_bytes())}{allowed}, and {format_bytes(free)} of {format_bytes(total)} are free"
    )


def format_bytes(size: int) -> str:
    """
    >>> format_bytes(7_900_000_000), format_bytes(350_000_000)
    ('7.9 GB', '350 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
