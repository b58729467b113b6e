"""Sums in the order of a tree: the same bits for any number of ranks, and those of a plain tree."""

from __future__ import annotations

import numpy as np
import pytest

from segattn_cli.ranks.communicator import ALONE
from segattn_cli.ranks.sums import TreeSum, collect_arrays, sum_arrays, tree_sum

from .thread_ranks import on_threads


def level_by_level(values):
    """The sum of neighbours, again and again: the definition."""
    while len(values) > 1:
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


def values_of(count, size=1001):
    """Values of very different magnitude, whose sum depends on the order."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(size, np.float32) * np.float32(10) ** (m % 5 - 2) for m in range(count)]


@pytest.mark.parametrize("count", range(1, 18))
def test_the_tree_is_that_of_neighbours(count):
    values = values_of(count)
    assert tree_sum(values).tobytes() == level_by_level(values).tobytes()
    if count == 8:
        assert tree_sum(values).tobytes() != sum(values[1:], values[0]).tobytes()


def test_few_values_are_in_memory():
    total = TreeSum()
    for value in range(1000):
        total.add(value)
        assert len(total._trees) <= 10
    assert total.value() == 499_500


@pytest.mark.parametrize(("ranks", "count"), [(1, 8), (2, 8), (4, 8), (8, 8), (3, 6), (3, 3), (5, 10)])
def test_the_bits_do_not_depend_on_the_ranks(ranks, count):
    values = values_of(count)
    own = count // ranks

    def share(comm):
        part = tree_sum(values[comm.rank * own : (comm.rank + 1) * own])
        return sum_arrays(comm, [part[:7].reshape(1, 7), part[7:], np.array(part[0], np.float64)])

    wanted = level_by_level(values)
    for head, rest, first in on_threads(ranks, share):
        assert np.concatenate([head.reshape(-1), rest]).tobytes() == wanted.tobytes()
        assert (head.shape, first.shape, first.dtype) == ((1, 7), (), np.float64)


def test_arrays_are_collected_by_rank_with_their_shapes_and_dtypes():
    def share(comm):
        own = [np.full((2, 3), comm.rank, np.float32), np.float64(comm.rank), np.full(2, comm.rank, np.float32)]
        return collect_arrays(comm, own)

    for everyone in on_threads(3, share):
        for rank, arrays in enumerate(everyone):
            assert [(each.shape, each.dtype) for each in arrays] == [((2, 3), "f4"), ((), "f8"), ((2,), "f4")]
            assert all((each == rank).all() for each in arrays)


def test_alone_nothing_is_copied():
    array = np.ones(3)
    assert sum_arrays(ALONE, [array])[0] is array
    assert collect_arrays(ALONE, [array])[0][0] is array
