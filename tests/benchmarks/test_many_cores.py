"""The model of many cores, and the record of the loops that it takes them from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from benchmarks.many_cores import START, Loop, predict

LOOPS = [Loop(36, 3.6, 1.9), Loop(1000, 1.0, 1.1), Loop(0, 0.0)]


def test_one_thread_takes_the_time_that_was_measured():
    assert predict(0.4, LOOPS, 1) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("threads", "seconds"), [(2, 0.4 + 1.8 + 0.5), (16, 0.4 + 0.3 + 0.063), (64, 0.4 + 0.1 + 0.016)]
)
def test_a_loop_takes_as_many_turns_as_a_thread_has_blocks(threads: int, seconds: float):
    assert predict(0.4, LOOPS, threads) == pytest.approx(seconds + 3 * START)


def test_a_loop_that_memory_limits_stays_as_fast_as_on_two_threads():
    assert predict(0.4, LOOPS, 16, memory_grows=False) == pytest.approx(0.4 + 0.3 + 1.0 / 1.1 + 3 * START)


RECORD = """
from backends import get_backend
from benchmarks.many_cores import record
import numpy as np

ops = get_backend("numba")
x = np.ones((1, 64, 64, 80), np.float32)
(loop,) = record(lambda: ops.relu(x), 2)
print(loop.blocks, loop.seconds > 0, loop.speedup > 0)
"""


def test_the_loops_of_a_step_are_recorded_with_their_blocks():
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", RECORD]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    from backends.numba.elementwise import _VALUES

    assert finished.stdout == f"{-(-64 * 64 * 80 // _VALUES)} True True\n"
