"""Batches of images, and the threads that work for the next and the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from backends.cores import usable_cores
from segattn_cli.prediction.passes import Size
from segattn_cli.prediction.predictor import Predictor

Item = TypeVar("Item")

#: Items of a batch, at most: what has no image must not wait for ever for the next one that has.
LONGEST = 1024
#: Pixels of an image that is read before its turn: of larger ones, one is in memory at a time.
READ_EARLY = 1 << 24
#: Threads that read and write for a GPU, at most: one reads about 100 large PNGs a second.
MOST_THREADS = 16


def threads_beside(predictor: Predictor) -> int:
    """How many threads read and write while the ``predictor`` computes: one, where it takes all cores itself."""
    return 1 if predictor.is_on_cpu else min(MOST_THREADS, usable_cores())


def batches_of(
    items: Iterable[Item], size_of: Callable[[Item], Size | None], most: Callable[[], int]
) -> Iterator[list[Item]]:
    """The ``items``, in their order, in lists with images of one size, ``most()`` of them.

    Items whose ``size_of`` is None have no image. They are between the images of a batch, or alone.

    >>> sizes = [(2, 2), None, (2, 2), (2, 2), None, (3, 3), (2, 2)]
    >>> [len(batch) for batch in batches_of(sizes, lambda size: size, lambda: 2)]
    [3, 2, 1, 1]
    """
    batch: list[Item] = []
    images, of_batch = 0, None
    for each in items:
        size = size_of(each)
        if size is not None and images and size != of_batch:
            yield batch
            batch, images = [], 0
        batch.append(each)
        if size is not None:
            images, of_batch = images + 1, size
        if images == 0 or images >= most() or len(batch) >= LONGEST:
            yield batch
            batch, images = [], 0
    if batch:
        yield batch
