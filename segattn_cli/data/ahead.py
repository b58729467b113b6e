"""What is computed by threads before it is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, most: int
) -> Generator[Result, None, None]:
    """``function(item)`` for each of the ``items``, in their order.

    The ``workers`` are threads, which have begun or finished up to ``most`` results when the next one is asked for.
    An error is raised when its result is due. The threads end with the iteration, also where it is left early.

    >>> list(ahead(lambda item: item**2, range(4), workers=2, most=3))
    [0, 1, 4, 9]
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="segattn-ahead")
    try:
        submitted = (pool.submit(function, item) for item in items)
        pending = deque(islice(submitted, most))
        while pending:
            result = pending.popleft().result()
            pending.extend(islice(submitted, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
