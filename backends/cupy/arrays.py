"""How arrays get to the device, back, and next to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from backends.cupy.checks import checked


def asarray(x: Any, dtype: Any = None) -> cupy.ndarray:
    """Bring ``x`` to the device; Python's floats become float32, arrays keep their dtype unless one is given.

    The host waits for nothing: CuPy copies ``x`` to pinned memory, which it keeps until the device has read it, and
    queues the transfer on the stream that computes. So ``x`` may change as soon as this returns, and no kernel can
    read too early. A stream of its own would let the transfer run beside the step before; but memory that CuPy's
    pool gives back may still be read by queued kernels, for which that stream would have to wait.
    """
    if dtype is None and not hasattr(x, "dtype"):
        x = np.asarray(x)
        if x.dtype.kind == "f":
            dtype = np.float32
    return cupy.asarray(x, dtype)


def to_numpy(x: cupy.ndarray) -> np.ndarray:
    """Fetch ``x``; this waits until it is computed."""
    return cupy.asnumpy(x)


def synchronize() -> None:
    """Wait until the device has done all that was asked of it."""
    cupy.cuda.get_current_stream().synchronize()


def concatenate(arrays: Sequence[cupy.ndarray]) -> cupy.ndarray:
    """Join ``(…, C_1)``, ``(…, C_2)``, … along the channels."""
    named = {f"arrays[{n}]": (array, f"... C{n}") for n, array in enumerate(arrays)}
    return cupy.concatenate(checked("concatenate", **named), axis=-1)


def stack(arrays: Sequence[cupy.ndarray]) -> cupy.ndarray:
    """Put S arrays of one shape ``(…)`` on top of each other: ``(S, …)``."""
    named = {f"arrays[{n}]": (array, "...") for n, array in enumerate(arrays)}
    return cupy.stack(checked("stack", **named))
