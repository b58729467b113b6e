"""The updates of all parameters in one launch, where one for each would be hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from backends.cupy.checks import C_TYPES
from backends.cupy.launch import launch
from reference.ops.checks import OpError

_FILE, _THREADS, _CHUNK = "updates.cu", (256,), 8192  # as in the kernels
_KINDS = {dtype: number for number, dtype in enumerate(C_TYPES)}


def sum_of_squares(arrays: Sequence[cupy.ndarray]) -> cupy.ndarray:
    """``Σ x²`` over all values of all arrays, in double and in a fixed order: ``()`` float64."""
    table, blocks = _table("sum_of_squares", [arrays])
    if not blocks:
        return cupy.zeros((), np.float64)
    out = cupy.empty((), np.float64)
    partial = cupy.empty(blocks, np.float64)
    launch(_FILE, "square_chunks", (blocks,), _THREADS, table, len(arrays), partial)
    launch(_FILE, "sum_squares", (1,), _THREADS, partial, out, blocks)
    return out


def sgd_update(
    params: Sequence[cupy.ndarray],
    momenta: Sequence[cupy.ndarray],
    gradients: Sequence[cupy.ndarray],
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    scale: Any = 1.0,
    apply: Any = True,
) -> None:
    """Move each parameter against its gradient, in place."""
    table, blocks = _table("sgd_update", [params, momenta, gradients], rates, decays)
    if not blocks:
        return
    dtype = _dtype("sgd_update", [*params, *momenta])
    launch(
        _FILE, f"sgd_update<{C_TYPES[dtype]}>", (blocks,), _THREADS,
        table, len(params), float(momentum), _scalar(scale, np.float64), _scalar(apply, np.bool_),
    )


def adamw_update(
    params: Sequence[cupy.ndarray],
    means: Sequence[cupy.ndarray],
    squares: Sequence[cupy.ndarray],
    steps: cupy.ndarray,
    gradients: Sequence[cupy.ndarray],
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    betas: tuple[float, float],
    epsilon: float,
    scale: Any = 1.0,
    apply: Any = True,
) -> None:
    """Move each parameter against its gradient, in place; the blocks read ``steps``, so it grows after them."""
    table, blocks = _table("adamw_update", [params, means, squares, gradients], rates, decays)
    applies = _scalar(apply, np.bool_)
    if blocks:
        dtype = _dtype("adamw_update", [*params, *means, *squares])
        launch(
            _FILE, f"adamw_update<{C_TYPES[dtype]}>", (blocks,), _THREADS,
            table, len(params), float(betas[0]), float(betas[1]), float(epsilon), steps.astype(np.float64),
            _scalar(scale, np.float64), applies,
        )
    steps += 1 if applies is None else applies


def move_towards(
    targets: Sequence[cupy.ndarray], sources: Sequence[cupy.ndarray], weights: Sequence[float], *, apply: Any = True
) -> None:
    """Move each target towards its source, in place."""
    table, blocks = _table("move_towards", [targets, sources], weights)
    if not blocks:
        return
    dtype = _dtype("move_towards", targets)
    launch(
        _FILE, f"move_towards<{C_TYPES[dtype]}>", (blocks,), _THREADS,
        table, len(targets), _scalar(apply, np.bool_),
    )


def _table(
    op: str, columns: Sequence[Sequence[cupy.ndarray]], *numbers: Sequence[float]
) -> tuple[cupy.ndarray, int]:
    """The table that the kernels read, in words of 8 bytes, and the number of blocks; changed arrays come first."""
    counts = [len(each) for each in (*columns, *numbers)]
    count = counts[0]
    if counts != [count] * len(counts):
        raise OpError(f"{op}: got {', '.join(map(str, counts))} arrays and numbers, wants as many of each.")
    sizes = np.array([array.size for array in columns[-1]], np.int64)
    for column in columns:
        for n, array in enumerate(column):
            if array.size != sizes[n] or not array.flags.c_contiguous or array.dtype not in _KINDS:
                raise OpError(
                    f"{op}: array {n} is {array.dtype} of shape {array.shape}; all of a row must have one size and "
                    "be contiguous."
                )
    blocks = -(-sizes // _CHUNK)
    first = np.cumsum(blocks) - blocks
    kinds = [_KINDS[array.dtype] for array in columns[-1]]
    words = [np.array([array.data.ptr for array in column], np.uint64) for column in columns]
    words += [np.array(each, np.int64).view(np.uint64) for each in (kinds, sizes, first)]
    words += [np.array(each, np.float64).view(np.uint64) for each in numbers]
    return cupy.asarray(np.concatenate(words)), int(blocks.sum())


def _dtype(op: str, arrays: Sequence[cupy.ndarray]) -> np.dtype:
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) > 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        raise OpError(f"{op}: what changes is {', '.join(map(str, dtypes))}, wants all float32 or all float64.")
    return dtypes.pop()


def _scalar(value: Any, dtype: Any) -> cupy.ndarray | None:
    """A number that a kernel reads on the device; None for 1 or True, which change nothing."""
    if isinstance(value, cupy.ndarray):
        return value.astype(dtype, copy=False)
    return None if value is True or value == 1 else cupy.asarray(np.array(value, dtype))
