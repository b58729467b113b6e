"""The memory of the device."""

from __future__ import annotations

from functools import cache

import cupy


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
