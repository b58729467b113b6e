"""Sums in one fixed order, whatever the number of ranks: the same bits everywhere.

The addition of floats is not associative: ``(a + b) + c`` and ``a + (b + c)`` are rounded differently. So the
values of a step, one for each batch, are always added in the same binary tree::

    (((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7)))

A rank adds an aligned part of the tree, and :func:`sum_arrays` the rest of it. Where each rank has a power of two
of the values, the tree is that of a single rank.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from segattn_cli.ranks.communicator import Communicator

Array = Any
T = TypeVar("T")


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


def sum_arrays(comm: Communicator, arrays: Sequence[Array]) -> list[Array]:
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


def collect_arrays(comm: Communicator, arrays: Sequence[Array]) -> list[list[Array]]:
    """For each rank its ``arrays``, whose shapes and dtypes must be the same on all ranks."""
    if comm.size == 1:
        return [list(arrays)]
    by_array = _joined(comm, arrays, comm.collect)  # each with one more axis, of the ranks
    return [[array[rank] for array in by_array] for rank in range(comm.size)]


def _joined(comm: Communicator, arrays: Sequence[Array], function: Callable[[Array], Array]) -> list[Array]:
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
