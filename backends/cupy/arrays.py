"""Arrays: to the device, from it, and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cupy
import numpy as np

from backends.cupy.checks import checked


def asarray(x: Any, dtype: Any = None) -> cupy.ndarray:
    """Copy ``x`` to the device; Python's floats become float32, the dtype of arrays changes only if one is given.

    The host does not wait: CuPy copies ``x`` to pinned memory, holds that until the device has read it, and queues
    the transfer on the stream that computes. So ``x`` may change as soon as this returns, and no kernel reads too
    early. On a stream of its own, the transfer could run beside the previous step; but queued kernels may still
    read memory that CuPy's pool hands out again, and that stream would have to wait for them.
    """
    if dtype is None and not hasattr(x, "dtype"):
        x = np.asarray(x)
        if x.dtype.kind == "f":
            dtype = np.float32
    return cupy.asarray(x, dtype)


def to_numpy(x: cupy.ndarray) -> np.ndarray:
    """Copy ``x`` to the host, once it is computed."""
    return cupy.asnumpy(x)


def synchronize() -> None:
    """Wait until the device has finished all queued work."""
    cupy.cuda.get_current_stream().synchronize()


def constants(params: Mapping[str, cupy.ndarray]) -> dict[str, cupy.ndarray]:
    """See :func:`reference.ops.constants`; the kernels derive nothing from weights."""
    return dict(params)


def concatenate(arrays: Sequence[cupy.ndarray]) -> cupy.ndarray:
    """Join ``(…, C_1)``, ``(…, C_2)``, … along the channels."""
    named = {f"arrays[{n}]": (array, f"... C{n}") for n, array in enumerate(arrays)}
    return cupy.concatenate(checked("concatenate", **named), axis=-1)


def stack(arrays: Sequence[cupy.ndarray]) -> cupy.ndarray:
    """Join S arrays of one shape ``(…)`` along a new first axis: ``(S, …)``."""
    named = {f"arrays[{n}]": (array, "...") for n, array in enumerate(arrays)}
    return cupy.stack(checked("stack", **named))
