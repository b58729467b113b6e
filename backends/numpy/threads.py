"""Threads: NumPy's elementwise operations use one core, so ops cut their arrays into blocks for several threads.

Each block is computed by one thread, its matrix products included. Meanwhile BLAS is limited to one thread, because
its threads and ours would wait for each other on the same cores. The blocks depend on the shapes alone and sums
over blocks are taken in the order of the blocks, so a result does not depend on the number of threads or on their
timing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from threading import Condition
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from backends.cores import usable_cores
from backends.errors import BackendError

Block = TypeVar("Block")

_chosen: int | None = None


def thread_count() -> int:
    """The number of threads of an op: ``set_thread_count``, else ``SEGATTN_THREADS``, else that of BLAS.

    BLAS uses the cores that this process may run on, or fewer with ``OMP_NUM_THREADS`` and the like. A BLAS that
    does not report its number, as Apple's, counts as one that uses all cores. If a quota allows less, both have
    fewer threads (:func:`backends.cores.usable_cores`): more would only wait for each other.
    """
    return _chosen or _from_environment()


def set_thread_count(count: int | None) -> None:
    """Use ``count`` threads from now on; with None, the environment decides again.

    >>> set_thread_count(1)
    >>> thread_count()
    1
    >>> set_thread_count(None)
    """
    global _chosen
    if count is not None and count < 1:
        raise ValueError(f"set_thread_count: count is {count}, wants at least 1.")
    _chosen = count


def for_each(task: Callable[[Block], object], blocks: Iterable[Block]) -> None:
    """Call ``task(block)`` for every block, on all threads; the first error stops them and is raised."""
    blocks = list(blocks)
    pending = iter(blocks)  # shared by all threads: advancing it is atomic

    def work() -> None:
        try:
            for block in pending:
                task(block)
        except BaseException:
            for _ in pending:  # the other threads find nothing to do
                pass
            raise

    helpers = min(thread_count(), len(blocks)) - 1
    with blas_libraries().limit(limits=1):
        pool = _pool(thread_count())
        # The helpers run in copies of the caller's context, which has the settings of np.errstate.
        others = [pool.submit(copy_context().run, work) for _ in range(helpers)]
        try:
            work()
        finally:
            wait(others)
    for other in others:
        other.result()


def sum_over(task: Callable[[Block], tuple[Any, ...]], blocks: Iterable[Block]) -> tuple[Any, ...]:
    """Add up the tuples of arrays ``task(block)``, computed on all threads, in the order of the blocks.

    A thread that is ahead waits for its turn, so that only one tuple for each thread is in memory.

    >>> sum_over(lambda block: (block, 1), [10, 20, 30])
    (60, 3)
    """
    turn = Condition()
    total: list[Any] = []
    done = 0

    def add(numbered: tuple[int, Block]) -> None:
        nonlocal done, total
        number, block = numbered
        try:
            terms = task(block)
            with turn:
                turn.wait_for(lambda: done in (number, -1))
                if done == number:
                    total = [a + b for a, b in zip(total, terms, strict=True)] if number else list(terms)
                    done += 1
                turn.notify_all()
        except BaseException:  # Ctrl-C too, which may come while the main thread waits or adds
            with turn:
                done = -1  # ends the waiting
                turn.notify_all()
            raise

    for_each(add, enumerate(blocks))
    return tuple(total)


@cache
def _from_environment() -> int:
    if chosen := os.environ.get("SEGATTN_THREADS"):
        if not chosen.isdecimal() or int(chosen) < 1:
            raise BackendError(f"SEGATTN_THREADS is {chosen!r}, wants a whole number of at least 1.")
        return int(chosen)
    cores = usable_cores()
    threads = max((library.num_threads for library in blas_libraries().lib_controllers), default=cores)
    for library in blas_libraries().lib_controllers:
        if library.num_threads > cores:
            library.set_num_threads(cores)
    return min(threads, cores)


@cache
def blas_libraries() -> Any:
    """The BLAS libraries in this process, as threadpoolctl controls them."""
    return ThreadpoolController().select(user_api="blas")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="segattn")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
