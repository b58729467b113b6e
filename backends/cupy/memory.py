"""The memory of the device: how much there is, how much may be taken, and what to do when it is not enough."""

from __future__ import annotations

import os
from functools import cache

import cupy

from backends.errors import BackendError

#: Environment variable → the most that CuPy's pool may take: ``8GB``, ``500MB``, or ``50%`` of the device.
LIMIT = "SEGATTN_GPU_MEMORY"
#: Less than this is not enough for the libraries themselves.
LEAST_FREE = 300 * 10**6
_UNITS = {"GB": 10**9, "MB": 10**6, "%": 0}


def free_bytes() -> int:
    """What this process could still take on the current device, as it was when this was first asked.

    Asked once, so that how an op cuts its work, and with it the last bits of its results, stay the same.
    """
    return _free_bytes(cupy.cuda.get_device_id())


@cache
def _free_bytes(device: int) -> int:
    pool = cupy.get_default_memory_pool()
    free = int(cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(free, limit - int(pool.used_bytes())) if limit else free


def limit_memory() -> None:
    """Hold CuPy's pool to :data:`LIMIT`, where that is set. Raises :class:`BackendError`.

    Also where the device has too little memory free to begin with.
    """
    free, total = cupy.cuda.runtime.memGetInfo()
    pool = cupy.get_default_memory_pool()
    if free + pool.total_bytes() < LEAST_FREE:
        raise BackendError(
            f"The GPU has {in_words(free)} of its {in_words(total)} free, too little to begin with: end what else "
            "uses it (nvidia-smi lists that), or choose the backend numpy, which computes in float32."
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
        raise BackendError(f"{LIMIT} is {text!r}, and wants a size such as 8GB, 500MB or 50%.")
    return bytes_


def out_of_memory(error: Exception) -> str:
    """What CuPy or a library of CUDA could not get, and from how much: a clause, to which the way out is added."""
    try:
        free, total = cupy.cuda.runtime.memGetInfo()
    except cupy.cuda.runtime.CUDARuntimeError:  # so full that it has no context
        return str(error)
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    wanted = getattr(error, "_size", 0)
    allowed = f", of the {in_words(limit)} that {LIMIT} allows" if limit else ""
    return (
        f"the GPU could not give {in_words(wanted) + ' more' if wanted else 'more'}: segattn holds "
        f"{in_words(pool.used_bytes())}{allowed}, and {in_words(free)} of {in_words(total)} are free"
    )


def in_words(size: int) -> str:
    """
    >>> in_words(7_900_000_000), in_words(350_000_000)
    ('7.9 GB', '350 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
