"""The threads under compiled loops: every block once, and nobody waits for a thread that does not come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from backends.numba import compile as compiled  # noqa: E402
from backends.numba import pool  # noqa: E402
from backends.numba.compile import kernel  # noqa: E402
from backends.numba.elementwise import _differentiate_gated  # noqa: E402
from backends.numpy.threads import set_thread_count  # noqa: E402

if not compiled._own_threads:
    pytest.skip("these threads need those of POSIX", allow_module_level=True)


@pytest.fixture(autouse=True)
def _threads():
    yield
    set_thread_count(None)


@kernel
def mark(block, counts, numbers):
    counts[block] += 1
    numbers[block] = numba.get_thread_id()


@kernel
def wait_for_each_other(block, address, arrived, numbers):
    """Each block waits, but not forever, until all have begun, and writes how many it saw."""
    numbers[block] = numba.get_thread_id()
    pool._add(address, 1)
    looks = 0
    while pool._read(address) < len(arrived) and looks < 1 << 30:
        looks += 1
    arrived[block] = pool._read(address)


@kernel
def wait_in_the_first(block, address, seen):
    """The first block waits, but not forever, until all others are done, and writes how many it saw."""
    if block == 0:
        looks = 0
        while pool._read(address) < 15 and looks < 1 << 28:
            looks += 1
        seen[0] = pool._read(address)
    else:
        pool._add(address, 1)


@kernel
def ask_for_too_much_memory(block, sizes, out):
    memory = np.empty(sizes[block], np.uint8)
    memory[0] = 7
    out[block] = memory[0]


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("blocks", [0, 1, 7, 1000])
def test_every_block_is_computed_once_by_a_thread_with_a_number_below_theirs(threads, blocks):
    set_thread_count(threads)
    for _ in range(20):
        counts, numbers = np.zeros(blocks, np.int64), np.full(blocks, -1)
        mark(len(counts), counts, numbers)
        assert (counts == 1).all()
        assert ((numbers >= 0) & (numbers < threads)).all()


def test_as_many_threads_with_numbers_of_their_own_work_at_once_as_were_asked_for():
    set_thread_count(3)
    count, arrived, numbers = np.zeros(1, np.int64), np.zeros(3, np.int64), np.zeros(3, np.int64)
    wait_for_each_other(3, count.ctypes.data, arrived, numbers)
    assert arrived.tolist() == [3, 3, 3]
    assert sorted(numbers) == [0, 1, 2]


def test_a_block_that_takes_long_holds_up_no_other_block():
    set_thread_count(2)
    count, seen = np.zeros(1, np.int64), np.zeros(1, np.int64)
    wait_in_the_first(16, count.ctypes.data, seen)
    assert seen == 15


def test_loops_of_several_callers_at_once_are_each_complete():
    set_thread_count(4)
    wrong: list[int] = []

    def call() -> None:
        for _ in range(300):
            counts, numbers = np.zeros(100, np.int64), np.zeros(100, np.int64)
            mark(len(counts), counts, numbers)
            wrong.extend(counts[counts != 1])

    callers = [threading.Thread(target=call) for _ in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert not wrong


def test_a_block_without_memory_is_an_error_once_the_others_are_done():
    set_thread_count(2)
    sizes, out = np.ones(40, np.int64), np.zeros(40, np.int64)
    sizes[7] = 1 << 60
    with pytest.raises(MemoryError, match="a compiled loop has no memory"):
        ask_for_too_much_memory(40, sizes, out)
    assert np.flatnonzero(out == 0).tolist() == [7]


def test_the_order_of_a_sum_does_not_depend_on_where_the_arrays_are():
    set_thread_count(2)
    memory = np.zeros(4 << 20, np.float32)
    values = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    sums = set()
    for distance in (0, 1, 8, 64, 1000, 16_384, 1 << 18):  # from the end of one array to the next
        out = memory[: values.size]
        dy = memory[values.size + distance : 2 * values.size + distance]
        dy[:] = values
        products = np.empty(64)
        _differentiate_gated(64, dy, values, np.float32(0.37), out, products)
        sums.add(products.sum())
    assert len(sums) == 1


def test_threads_without_work_sleep():
    set_thread_count(4)
    mark(100, np.zeros(100, np.int64), np.zeros(100, np.int64))
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


LOOPS_OF_A_CHILD = """
import os
import numba
import numpy as np
from backends import get_backend
from backends.numba import pool

ops = get_backend("numba")
x = np.linspace(-1, 1, 1 << 20, dtype=np.float32)
y, _ = ops.relu(x)
pool.start = lambda helpers: None
child = os.fork()
if child == 0:  # has no threads but this one, though the loops ask for four
    os._exit(not np.array_equal(ops.relu(x)[0], y) or len(pool._helpers))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(len(pool._helpers))
"""


def test_a_child_of_a_fork_waits_for_no_thread_of_its_parent():
    environment = os.environ | {"SEGATTN_THREADS": "4", "NUMBA_NUM_THREADS": "4"}
    command = [sys.executable, "-W", "ignore", "-c", LOOPS_OF_A_CHILD]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "3\n", "")


LOOPS_AT_THE_END = """
import atexit
import numpy as np
from backends import get_backend

def last():  # runs after the threads have ended
    print(ops.relu(x)[0].sum(), [thread.is_alive() for thread in pool._helpers])

atexit.register(last)
from backends.numba import pool

ops, x = get_backend("numba"), np.ones((1, 64, 64, 64), np.float32)
ops.relu(x)
print([thread.is_alive() for thread in pool._helpers])
"""


def test_the_threads_end_before_the_interpreter_and_later_loops_need_none():
    environment = os.environ | {"SEGATTN_THREADS": "3", "NUMBA_NUM_THREADS": "4"}
    command = [sys.executable, "-c", LOOPS_AT_THE_END]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert finished.stdout == "[True, True]\n262144.0 [False, False]\n"
    assert (finished.returncode, finished.stderr) == (0, "")


LOOPS_OF_A_LAYER = """
import numba
import numpy as np
from backends import get_backend
from backends.numba import compile

x = np.linspace(-1, 1, 1 << 20, dtype=np.float32)
same = np.array_equal(get_backend("numba").relu(x)[0], np.maximum(x, 0))
print(compile._own_threads, numba.threading_layer(), same)
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_layer_that_the_user_chose_runs_the_loops(threads: str):
    command = [sys.executable, "-c", LOOPS_OF_A_LAYER]
    environment = os.environ | {
        "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": threads, "SEGATTN_THREADS": threads,
    }  # fmt: skip
    finished = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert finished.stdout == "False workqueue True\n"
