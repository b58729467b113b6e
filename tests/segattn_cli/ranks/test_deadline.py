"""A call waits for other ranks until its deadline; time for which the process was stopped does not count."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from segattn_cli.ranks import mpi


class Ended(Exception):
    pass


@pytest.fixture
def waits(monkeypatch):
    """Lets rank 0 of two ask at these times for what never comes; says how it ended."""

    def wait(*times: float) -> str:
        clock = iter((0.0, *times))

        def end(reason: str) -> None:
            raise Ended(reason)

        monkeypatch.setattr(mpi, "time", SimpleNamespace(perf_counter=lambda: next(clock), sleep=lambda _: None))
        comm = SimpleNamespace(rank=0, size=2, Iallgather=lambda *_: SimpleNamespace(Test=lambda: False))
        world = SimpleNamespace(COMM_WORLD=SimpleNamespace(Dup=lambda: comm), BYTE=None)
        channel = mpi._Channel(world, end)
        channel.deadline = 3.0
        try:
            channel.collect(np.zeros(2))
        except Ended as error:
            return str(error)
        except (StopIteration, RuntimeError):
            return "waits"
        return "came"

    return wait


def test_the_deadline_is_in_seconds(waits):
    assert waits(1, 2, 3) == "waits"
    assert waits(1, 2, 3, 3.1) == "Rank 1 has not sent its array within 3 s"
    assert waits(*np.arange(0, 3, 0.01)) == "waits"
    assert waits(*np.arange(0, 4, 0.01)).startswith("Rank 1")


def test_a_process_that_was_stopped_for_hours_goes_on_to_wait(waits):
    assert waits(1, 7200, 7200.5, 7201) == "waits"
    assert waits(1, 7200, 7200.5, 7201, 7201.5) == "Rank 1 has not sent its array within 3 s"
