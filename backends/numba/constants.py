"""Weights that do not change, beside which is stored what ops derive from them: packed or transformed weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

#: The least number of values in a network whose weights are worth it.
SMALLEST_NETWORK = 1 << 20
#: Bytes that are stored beside the weights of one network, at most; further weights are transformed in every call.
LARGEST_STORE = 1 << 28


class Constant(np.ndarray):
    """A weight that does not change, and what was derived from it, by name."""

    derived: dict[str, np.ndarray]
    store: Store  # of its network

    def derive(self, name: str, size: int, make: Callable[[], np.ndarray]) -> np.ndarray | None:
        """``make()``, which has ``size`` values and is stored for later calls; None where it would not fit."""
        if name not in self.derived:
            if not self.store.reserve(size * self.itemsize):
                return None
            self.derived[name] = make()
        return self.derived[name]

    def __array_finalize__(self, source: Any) -> None:
        self.derived = {}  # a part of a constant is another one
        self.store = getattr(source, "store", Store(0))


class Store:
    """The bytes that may still be stored."""

    def __init__(self, free: int) -> None:
        self.free = free

    def reserve(self, size: int) -> bool:
        """Take ``size`` bytes, and say whether they were free."""
        if size > self.free:
            return False
        self.free -= size
        return True


def constants(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """See :func:`reference.ops.constants`; weights become views that ops recognise."""
    result = dict(params)
    if sum(param.size for param in params.values()) >= SMALLEST_NETWORK:
        store = Store(LARGEST_STORE)
        for name in (name for name, param in params.items() if param.ndim > 1):
            weight = params[name].view(Constant)
            weight.store = store
            result[name] = weight
    return result
