"""Sums in the order of a tree: the same bits for any number of ranks, and those of a plain tree."""

from __future__ import annotations

import numpy as np
import pytest

from segattn_cli.ranks import sums
from segattn_cli.ranks.communicator import ALONE
from segattn_cli.ranks.sums import BucketSum, TreeSum, collect_arrays, sum_arrays, tree_sum

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


@pytest.mark.parametrize("bucket", [1, 300, 1 << 20])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_buckets_are_sums_whatever_their_size_and_a_rank_that_fails_sends_the_rest(monkeypatch, ranks, bucket):
    monkeypatch.setattr(sums, "BUCKET", bucket)
    values = values_of(ranks, size=100)
    parts = {"a": slice(0, 3), "b": slice(3, 90), "c": slice(90, 100)}
    like = {name: (values[0][part].shape, values[0].dtype) for name, part in parts.items()}

    def share(comm):
        whole, cut = BucketSum(comm), BucketSum(comm)
        for name, part in parts.items():
            whole.add(name, values[comm.rank][part])
        sums_of_whole = whole.sums()
        for name, part in list(parts.items())[: 1 if comm.rank == 1 else 3]:
            cut.add(name, values[comm.rank][part])
        cut.add_rest(like)
        return sums_of_whole, cut.sums()

    for whole, cut in on_threads(ranks, share):
        assert list(whole) == list(cut) == list(parts)
        assert np.concatenate(list(whole.values())).tobytes() == level_by_level(values).tobytes()
        assert np.array_equal(cut["a"], whole["a"])
        assert np.array_equal(cut["c"], level_by_level([0 * v if r == 1 else v for r, v in enumerate(values)])[90:])


def test_buckets_are_sent_when_they_are_full(monkeypatch):
    monkeypatch.setattr(sums, "BUCKET", 100)
    sent = []

    class Noting(type(ALONE)):
        def later(self, function):
            sent.append(len(added))
            return super().later(function)

    total, added = BucketSum(Noting()), []
    for name in "abcde":
        added.append(name)
        total.add(name, np.ones(10, np.float32))  # 40 bytes
    assert list(total.sums()) == added
    assert sent == [3, 5]


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
