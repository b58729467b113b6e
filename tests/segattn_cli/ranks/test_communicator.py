"""What several ranks agree on: values, turns, and errors, which end all of them in the same place."""

from __future__ import annotations

import numpy as np
import pytest

from backends.errors import BackendError
from segattn_cli.errors import DataError, OutputError
from segattn_cli.ranks.communicator import ALONE, communicator_of, from_first, in_turns, is_agreed, on_all, together

from .thread_ranks import on_threads


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def failing(comm, *ranks, error=DataError):
    if comm.rank in ranks:
        raise error(f"rank {comm.rank}")
    return comm.rank


def test_all_get_what_each_has():
    assert on_threads(3, lambda comm: on_all(comm, lambda: comm.rank**2)) == [[0, 1, 4]] * 3
    assert on_threads(3, lambda comm: from_first(comm, lambda: comm.rank + 7, "its number")) == [7] * 3


@pytest.mark.parametrize("ranks", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_an_error_on_one_rank_is_raised_on_all(ranks):
    for error in on_threads(3, lambda comm: on_all(comm, lambda: failing(comm, *ranks))):
        assert isinstance(error, DataError)
        assert is_agreed(error)
        assert str(error) == f"rank {ranks[0]}"


def test_a_block_is_left_together():
    def block(comm):
        with together(comm):
            failing(comm, 1, error=OutputError)

    for error in on_threads(2, block):
        assert (type(error), str(error)) == (OutputError, "rank 1")


def test_an_error_that_cannot_be_sent_arrives_in_words():
    def block(comm):
        with together(comm):
            if comm.rank == 1:
                raise Unpicklable("one", "two")

    other, own = on_threads(2, block)
    assert isinstance(own, Unpicklable)
    assert str(other) == "rank 1: Unpicklable: one and two"


def test_the_traceback_of_another_rank_is_a_note():
    error, _ = on_threads(2, lambda comm: on_all(comm, lambda: failing(comm, 1, error=ValueError)))
    assert "On rank 1:" in error.__notes__[0]
    assert "in failing" in error.__notes__[0]


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_an_error_arrives_where_the_others_wait_inside(ranks):
    def pass_(comm):
        on_all(comm, lambda: None)
        failing(comm, *ranks)
        return [on_all(comm, lambda: comm.rank) for _ in range(3)]

    for error in on_threads(3, lambda comm: on_all(comm, lambda: pass_(comm))):
        assert (type(error), str(error)) == (DataError, f"rank {ranks[0]}")


@pytest.mark.parametrize("ranks", [1, 2, 3, 9])
@pytest.mark.parametrize("each", [1, 2, 5])
def test_turns_are_taken_in_order(ranks, each):
    def take(comm):
        calls = []

        def squares(numbers):
            calls.append(list(numbers))
            return [number**2 for number in numbers]

        return list(in_turns(comm, 7, squares, each=each)), calls

    for rank, (values, calls) in enumerate(on_threads(ranks, take)):
        assert values == [0, 1, 4, 9, 16, 25, 36]
        own = list(range(rank, 7, ranks))
        assert calls == [own[start : start + each] for start in range(0, len(own), each)]


def test_alone_an_error_is_raised_as_it_is():
    with pytest.raises(DataError) as raised:
        on_all(ALONE, lambda: failing(ALONE, 0))
    assert not hasattr(raised.value, "__notes__")
    assert on_all(ALONE, lambda: 3) == [3]


#: Every kind of call that waits for other ranks, and what it waits for.
CALLS = {
    "on_all": (lambda comm: on_all(comm, lambda: 1, "its gradients"), "its gradients"),
    "together": (lambda comm: enter(together(comm, "its next images")), "its next images"),
    "from_first": (lambda comm: from_first(comm, lambda: 1, "its checkpoint"), "its checkpoint"),
    "in_turns": (lambda comm: list(in_turns(comm, 2, list)), "its image"),
    "gather": (lambda comm: comm.gather(1), "its message"),
    "exchange": (lambda comm: comm.exchange(np.zeros((2, 3))), "its part of a sum of arrays"),
    "collect": (lambda comm: comm.collect(np.zeros(3)), "its array"),
    "later": (lambda comm: comm.later(lambda other: other.collect(np.zeros(3)))(), "its array"),
}  # fmt: skip


def enter(block):
    with block:
        pass


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("late", [0, 1])
def test_a_rank_that_does_not_come_is_named_with_what_it_did_not_send(call, late):
    wait, what = CALLS[call]
    error = on_threads(2, lambda comm: None if comm.rank == late else wait(comm), deadline=0.2)[1 - late]
    assert str(error) == f"Rank {late} has not sent {what} within 0.2 s"


class Named:
    def __init__(self, name):
        self.name = name


def test_ranks_with_other_backends_are_refused():
    def choose(comm):
        return communicator_of(comm, Named("numba" if comm.rank else "numpy")) is comm

    for error in on_threads(2, choose):
        assert isinstance(error, BackendError)
        assert "numpy on rank 0, numba on rank 1" in str(error)
    assert on_threads(2, lambda comm: communicator_of(comm, Named("numpy")) is comm) == [True, True]
    assert communicator_of(ALONE, Named("cupy")) is ALONE
