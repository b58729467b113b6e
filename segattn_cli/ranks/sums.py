"""Sums in one fixed order, whatever the number of ranks: the same bits everywhere.

The addition of floats is not associative: ``(a + b) + c`` and ``a + (b + c)`` are rounded differently. So the
values of a step, one for each batch, are always added in the same binary tree::

    (((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7)))

A rank adds an aligned part of the tree, and :func:`sum_arrays` the rest of it. Where each rank has a power of two
of the values, the tree is that of a single rank.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from segattn_cli.ranks.communicator import Communicator, Transport

if TYPE_CHECKING:
    import numpy as np

Array = Any
T = TypeVar("T")

#: Bytes of arrays that are summed over the ranks together.
BUCKET = 1 << 22


class TreeSum(Generic[T]):
    """The sum of values that come one after the other, with about ``log2`` of their number in memory.

    ``plus`` may take its arguments apart: what was added is not looked at again.

    >>> total = TreeSum(lambda left, right: f"({left} + {right})")
    >>> for value in "abcdef":
    ...     total.add(value)
    >>> total.value()
    '(((a + b) + (c + d)) + (e + f))'
    """

    def __init__(self, plus: Callable[[T, T], T] = operator.add) -> None:
        self._plus = plus
        self._trees: list[tuple[int, T]] = []  # complete trees, the larger first: their number of values, their sum

    def add(self, value: T) -> None:
        count = 1
        while self._trees and self._trees[-1][0] == count:
            _, left = self._trees.pop()
            count, value = 2 * count, self._plus(left, value)
        self._trees.append((count, value))

    def value(self) -> T:
        """The sum of all values, once the last one has been added. Raises ``IndexError`` for none."""
        total = self._trees[-1][1]
        for _, left in reversed(self._trees[:-1]):
            total = self._plus(left, total)
        return total


def tree_sum(values: Sequence[T]) -> T:
    """The sum of ``values`` in the order of a :class:`TreeSum`."""
    total: TreeSum[T] = TreeSum()
    for value in values:
        total.add(value)
    return total.value()


def sum_arrays(comm: Transport, arrays: Sequence[Array]) -> list[Array]:
    """The sum over the ranks of each of ``arrays``, in the order of a tree over the ranks, to the same bits on all.

    Each rank sums one part of the values: what it sends and receives is twice the size of the arrays, whatever the
    number of ranks. The shapes and dtypes must be the same on all ranks.
    """
    if comm.size == 1:
        return list(arrays)

    def add(flat: Array) -> Array:
        received = comm.exchange(flat.reshape(comm.size, -1))  # (ranks, n)
        return comm.collect(tree_sum(list(received))).reshape(-1)

    return _joined(comm, arrays, add)


class BucketSum:
    """The sums over the ranks of named arrays that come one after the other, while the next are computed.

    A bucket that is full is summed as by :func:`sum_arrays`. All ranks must add arrays of the same names, shapes
    and dtypes in the same order.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._bucket: dict[str, Array] = {}
        self._sent: list[tuple[list[str], Callable[[], list[Array]]]] = []
        self._added: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._added

    def add(self, name: str, array: Array) -> None:
        self._bucket[name] = array
        self._added.add(name)
        if sum(each.nbytes for each in self._bucket.values()) >= BUCKET:
            self._send()

    def add_rest(self, like: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> None:
        """Add zeros for all that is still missing, where this rank cannot compute it and others wait for it.

        ``like`` has the shapes and dtypes in the order in which arrays are added.
        """
        for name, (shape, dtype) in like.items():
            if name not in self:
                zeros = self._comm.empty(math.prod(shape), dtype)
                zeros[:] = 0
                self.add(name, zeros.reshape(shape))

    def sums(self) -> dict[str, Array]:
        """Wait for the sums of all arrays that were added, by name."""
        if self._bucket:
            self._send()
        return {name: array for names, wait in self._sent for name, array in zip(names, wait(), strict=True)}

    def _send(self) -> None:
        arrays, self._bucket = self._bucket, {}
        values = list(arrays.values())
        self._sent.append((list(arrays), self._comm.later(lambda transport: sum_arrays(transport, values))))


def collect_arrays(comm: Transport, arrays: Sequence[Array]) -> list[list[Array]]:
    """For each rank its ``arrays``, whose shapes and dtypes must be the same on all ranks."""
    if comm.size == 1:
        return [list(arrays)]
    by_array = _joined(comm, arrays, comm.collect)  # each with one more axis, of the ranks
    return [[array[rank] for array in by_array] for rank in range(comm.size)]


def _joined(comm: Transport, arrays: Sequence[Array], function: Callable[[Array], Array]) -> list[Array]:
    """``function`` of the arrays of each dtype, as one flat array, taken apart again along its last axis.

    Zeros fill it up to a multiple of the number of ranks.
    """
    results: list[Array] = [None] * len(arrays)
    for dtype in dict.fromkeys(array.dtype for array in arrays):
        indices = [index for index, array in enumerate(arrays) if array.dtype == dtype]
        ends = list(accumulate(arrays[index].size for index in indices))
        flat = comm.empty(-(-ends[-1] // comm.size) * comm.size, dtype)
        flat[ends[-1] :] = 0
        for index, end in zip(indices, ends, strict=True):
            flat[end - arrays[index].size : end] = arrays[index].reshape(-1)
        result = function(flat)
        for index, end in zip(indices, ends, strict=True):
            part = result[..., end - arrays[index].size : end]
            results[index] = part.reshape((*part.shape[:-1], *arrays[index].shape))
    return results
