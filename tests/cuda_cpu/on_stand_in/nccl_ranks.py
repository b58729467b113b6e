"""Arrays of CuPy between ranks: the sum has the bits of NumPy's tree, whatever the number of ranks."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from backends.errors import BackendError
from segattn_cli.ranks import sums
from segattn_cli.ranks.sums import BucketSum, collect_arrays, sum_arrays, tree_sum

from ...backends.cupy.conftest import ops  # noqa: F401, a fixture
from ...segattn_cli.ranks.thread_ranks import on_threads


@pytest.fixture
def cards(monkeypatch):
    """``cards(n)``: that many of them, on which ranks find themselves one after the other."""
    import cupy

    def give(count):
        numbers = itertools.cycle(range(count))
        bus = property(lambda self: f"0000:{next(numbers):02}:00.0")
        monkeypatch.setattr(cupy.cuda.Device, "pci_bus_id", bus, raising=False)

    return give


def on_cards(ranks, function):
    from segattn_cli.ranks.nccl import Nccl

    return on_threads(ranks, lambda comm: function(Nccl(comm)))


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_sums_have_the_bits_of_a_tree(ops, cards, ranks, dtype):  # noqa: F811
    rng = np.random.default_rng(ranks)
    values = [(10.0 ** (rank % 3) * rng.normal(size=1001)).astype(dtype) for rank in range(ranks)]
    wanted = tree_sum(values)
    cards(ranks)

    def share(comm):
        array = ops.asarray(values[comm.rank])
        total = sum_arrays(comm, [array[:10].reshape(2, 5), array[10:], ops.asarray(np.float32(comm.rank))])
        return [ops.to_numpy(each) for each in total]

    for head, rest, number in on_cards(ranks, share):
        assert np.concatenate([head.reshape(-1), rest]).tobytes() == wanted.tobytes()
        assert (head.shape, number.shape, float(number)) == ((2, 5), (), sum(range(ranks)))


def test_buckets_are_summed_beside_the_computation(ops, cards, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sums, "BUCKET", 100)
    values = [np.random.default_rng(rank).normal(size=(4, 20)).astype(np.float32) for rank in range(3)]
    cards(3)

    def share(comm):
        total = BucketSum(comm)
        for name, value in zip("abcd", values[comm.rank], strict=True):
            total.add(name, ops.asarray(value))
        return {name: ops.to_numpy(array) for name, array in total.sums().items()}

    for total in on_cards(3, share):
        assert list(total) == list("abcd")
        assert np.array_equal(np.stack(list(total.values())), tree_sum(values))


def test_arrays_are_collected(ops, cards):  # noqa: F811
    cards(3)

    def share(comm):
        own = [ops.asarray(np.full((2, 3), comm.rank, np.float32)), ops.asarray(np.full(4, comm.rank, np.float64))]
        return [[ops.to_numpy(each) for each in rank] for rank in collect_arrays(comm, own)]

    for everyone in on_cards(3, share):
        for rank, (matrix, vector) in enumerate(everyone):
            assert (matrix.shape, matrix.dtype, vector.shape, vector.dtype) == ((2, 3), "f4", (4,), "f8")
            assert (matrix == rank).all()
            assert (vector == rank).all()


def test_two_ranks_on_one_card_are_refused(cards):
    cards(1)
    for error in on_cards(2, lambda comm: None):
        assert isinstance(error, BackendError)
        assert "2 ranks have 1 GPUs" in str(error)


def test_without_nccl_a_sentence_says_what_to_install(cards, monkeypatch):
    import cupy

    cards(2)
    monkeypatch.setattr(cupy.cuda.nccl, "available", False)
    for error in on_cards(2, lambda comm: None):
        assert isinstance(error, BackendError)
        assert "pip install nvidia-nccl-cu13" in str(error)
