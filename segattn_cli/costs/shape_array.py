"""Arrays without values, and the meter that counts their memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class CostMeter:
    """The memory of arrays and workspaces, and the arithmetic."""

    alive: int = 0  # bytes of arrays
    peak: int = 0  # the most of them that were alive at once
    workspace: int = 0  # bytes of the largest workspace that threads share
    scratch: int = 0  # bytes of the largest workspace of one thread
    forward: int = 0  # multiply-adds
    backward: int = 0  # multiply-adds

    def total(self, threads: int) -> int:
        """The peak in bytes: a workspace, once it is allocated, is held for the next op."""
        return self.peak + self.workspace + threads * self.scratch

    def allocate(self, nbytes: int) -> None:
        self.alive += nbytes
        self.peak = max(self.peak, self.alive)


class ShapeArray:
    """An array without values; a view lives on the memory of its ``base``.

    It counts as memory for as long as anything refers to it, as a NumPy array does.

    >>> meter = CostMeter()
    >>> x = ShapeArray((2, 3), np.float32, meter)
    >>> y = (x + 1.0).reshape(-1)
    >>> y.shape, meter.alive
    ((6,), 48)
    >>> del x, y
    >>> meter.alive, meter.peak
    (0, 48)
    """

    def __init__(self, shape: Sequence[int], dtype: Any, meter: CostMeter, base: ShapeArray | None = None) -> None:
        self.shape: Any = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.meter = meter
        self.base = base
        if base is None:
            meter.allocate(self.nbytes)

    def __del__(self) -> None:
        if self.base is None:
            self.meter.alive -= self.nbytes

    def reshape(self, *shape: Any) -> ShapeArray:
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        rest = self.size // -math.prod(wanted) if -1 in wanted else 0  # the −1 makes the product negative
        return self._view([rest if axis == -1 else axis for axis in wanted])

    def __getitem__(self, index: Any) -> ShapeArray:
        """What NumPy's indexing by integers, slices and an ellipsis shows: a view."""
        values = np.broadcast_to(np.empty((), np.bool_), self.shape)  # takes no memory
        return self._view(values[index].shape)

    def __add__(self, other: Any) -> ShapeArray:
        shape = np.broadcast_shapes(self.shape, getattr(other, "shape", ()))
        return ShapeArray(shape, self.dtype, self.meter)

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __pow__ = __add__

    def _view(self, shape: Sequence[int]) -> ShapeArray:
        return ShapeArray(shape, self.dtype, self.meter, self)
