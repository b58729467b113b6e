"""Results depend neither on how many threads there are nor on their timing; errors come through."""

from __future__ import annotations

import os
import runpy
import time
from threading import Barrier, Condition, current_thread

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from backends import BackendError
from backends.numpy.threads import for_each, sum_over, thread_count

LOSSES = ("softmax_cross_entropy", "softmax_focal", "softmax_dice", "lovasz_softmax")


def networks_ops(ops):
    """One call of each op that uses threads, forward and backward, on several blocks each."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    calls = {
        "winograd": ("conv2d", (draw(2, 33, 40, 64), draw(3, 3, 64, 64)), {"padding": 1}),
        "patches": ("conv2d", (draw(2, 63, 80, 16), draw(3, 3, 16, 24)), {"stride": 2, "padding": 1}),
        "pointwise": ("conv2d", (draw(2, 45, 60, 64), draw(1, 1, 64, 32), draw(32)), {}),
        "batch_norm_relu": ("batch_norm_relu", (draw(2, 45, 60, 64), *draw(4, 64)), {"training": True}),
        "max_pool2d": ("max_pool2d", (draw(2, 60, 60, 64),), {"window": 3, "stride": 2, "padding": 1}),
        "resize_bilinear": ("resize_bilinear", (draw(2, 45, 60, 11), (180, 240)), {}),
        "position_attention": ("position_attention", (draw(1, 1300, 8), draw(1, 1300, 8), draw(1, 1300, 16)), {}),
        "channel_attention": ("channel_attention", (0.1 * draw(2, 2700, 32),), {}),
        **{op: (op, (draw(2, 180, 240, 11), rng.integers(0, 11, (2, 180, 240))), {}) for op in LOSSES},
    }
    for name, (op, inputs, options) in calls.items():
        y, cache = getattr(ops, op)(*inputs, **options)
        gradients = getattr(ops, f"{op}_backward")(y, cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        yield from ((name, n, value) for n, value in enumerate((y, *gradients)) if value is not None)


def test_any_number_of_threads_gives_the_same_bits(ops, threads):
    threads(1)
    expected = list(networks_ops(ops))
    for count in 2, 5:
        threads(count)
        for (name, n, value), (_, _, wanted) in zip(networks_ops(ops), expected, strict=True):
            np.testing.assert_array_equal(value, wanted, err_msg=f"{name}: output {n} with {count} threads")


def test_every_block_is_computed_once(threads):
    threads(3)
    seen: list[int] = []
    for_each(seen.append, range(100))
    assert sorted(seen) == list(range(100))


def test_no_blocks(threads):
    threads(2)
    for_each(print, [])


def test_sums_are_taken_in_order(threads):
    threads(4)

    def late(block):
        time.sleep(0.002 * (5 - block % 5))
        return ([block],)

    assert sum_over(late, range(20)) == (list(range(20)),)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("bad", [0, 7, 19])
@pytest.mark.parametrize("loop", [for_each, sum_over])
def test_an_error_in_a_block_is_raised(threads, loop, bad, count):
    threads(count)

    def task(block):
        if block == bad:
            raise MemoryError("no more")
        return (block,)

    with pytest.raises(MemoryError, match="no more"):
        loop(task, range(20))
    assert sum_over(lambda block: (block,), range(4)) == (6,), "the next call is none the wiser"


@pytest.mark.parametrize("moment", ["waiting", "adding"])
def test_an_interruption_lets_the_waiting_threads_go(threads, monkeypatch, moment):
    """Ctrl-C reaches the thread with block 1 while block 2 waits for its turn."""
    from backends.numpy import threads as module

    together = Barrier(2, timeout=300)
    interrupted, in_time = [], []

    class Interruptible(Condition):
        def wait_for(self, predicate, timeout=None):
            if moment == "waiting" and current_thread() in interrupted:
                raise KeyboardInterrupt
            in_time.append(super().wait_for(predicate, timeout=60))

    class Term:
        def __radd__(self, other):
            raise KeyboardInterrupt

    def task(block):
        if block == 1:
            interrupted.append(current_thread())
        if block in (1, 2):
            together.wait()
        return (Term() if (block, moment) == (1, "adding") else block,)

    threads(2)
    monkeypatch.setattr(module, "Condition", Interruptible)
    with pytest.raises(KeyboardInterrupt):
        sum_over(task, range(20))
    assert all(in_time)


def test_errors_of_numpy_are_handled_as_the_caller_wants(threads):
    threads(2)
    together = Barrier(2, timeout=300)
    settings = []

    def note(block):
        together.wait()
        settings.append((current_thread(), np.geterr()["over"]))

    with np.errstate(over="raise"):
        for_each(note, range(2))
    assert len(dict(settings)) == 2, "two threads"
    assert set(dict(settings).values()) == {"raise"}


def test_blas_is_held_to_one_thread_inside_and_freed_after(threads):
    threads(2)
    inside: list[list[int]] = []
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert max(before) == 2
        for_each(lambda block: inside.append(blas_threads()), range(4))
        assert all(count == 1 for counts in inside for count in counts)
        assert blas_threads() == before


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_the_environment_chooses(threads, monkeypatch):
    from backends.numpy import threads as module

    monkeypatch.setenv("SEGATTN_THREADS", "3")
    module._from_environment.cache_clear()
    assert thread_count() == 3
    threads(2)
    assert thread_count() == 2
    threads(None)
    monkeypatch.delenv("SEGATTN_THREADS")
    module._from_environment.cache_clear()
    assert thread_count() == max(blas_threads())


def test_without_a_blas_to_ask_there_is_a_thread_for_each_core(threads, monkeypatch):
    from backends.numpy import threads as module

    monkeypatch.delenv("SEGATTN_THREADS", raising=False)
    monkeypatch.setattr(module, "blas_libraries", lambda: ThreadpoolController().select(user_api="none"))
    monkeypatch.setattr(module, "usable_cores", lambda: 6)
    module._from_environment.cache_clear()
    assert thread_count() == 6


def test_a_quota_limits_the_threads_and_those_of_blas(threads, monkeypatch):
    from backends.numpy import threads as module

    monkeypatch.delenv("SEGATTN_THREADS", raising=False)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    with threadpool_limits(3, user_api="blas"):
        module._from_environment.cache_clear()
        assert thread_count() == 2
        assert set(blas_threads()) == {2}


def test_systems_without_fork(monkeypatch):
    from backends.numpy import threads as module

    monkeypatch.delattr(os, "register_at_fork")
    runpy.run_path(module.__file__)


@pytest.mark.parametrize("wrong", ["0", "-2", "two", "1.5"])
def test_what_the_environment_cannot_mean(threads, monkeypatch, wrong):
    from backends.numpy import threads as module

    module._from_environment.cache_clear()
    monkeypatch.setenv("SEGATTN_THREADS", wrong)
    with pytest.raises(BackendError, match=f"SEGATTN_THREADS is '{wrong}', wants a whole number"):
        thread_count()


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads_are_refused(threads, count):
    with pytest.raises(ValueError, match="at least 1"):
        threads(count)
