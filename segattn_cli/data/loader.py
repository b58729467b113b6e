"""Batches, decoded and augmented beside the computation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import NamedTuple

import numpy as np

from segattn_cli.data.augment import AugmentationConfig, augment
from segattn_cli.data.dataset import Dataset, Sample
from segattn_cli.data.normalise import normalise
from segattn_cli.data.random import stream
from segattn_cli.errors import DataError


class Batch(NamedTuple):
    """What a training step takes."""

    images: np.ndarray  # (B, H, W, 3) float32, normalised
    labels: np.ndarray  # (B, H, W) int32, 255 = void
    names: tuple[str, ...]
    wait_seconds: float  # how long the consumer stood waiting for this batch


class Loader:
    """One epoch of ``dataset`` in random order: iterate over it for :class:`Batch` after :class:`Batch`.

    The order depends on seed and epoch, an augmentation on seed, epoch and sample: neither the number of workers
    nor the place where an epoch is taken up changes a bit. Pictures that do not fill a last batch wait for another
    epoch, whose order is another.

    At most ``prefetch + 1`` batches are in memory. Threads end with the iteration, also where it is left early.
    What goes wrong in a thread is raised in the consumer when its turn comes.

    Args:
        augmentation: ``None`` takes pictures as they are; a batch of several sizes is then an error.
        first_batch: where to take up the epoch: that many batches are skipped.
        workers: threads that decode and augment.
        prefetch: how many batches they prepare while the consumer computes.

    Raises:
        DataError: for fewer pictures than a batch, pictures of several sizes, and whatever is wrong with a file.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
        epoch: int = 0,
        first_batch: int = 0,
        workers: int = 2,
        prefetch: int = 2,
    ) -> None:
        if len(dataset) < batch_size:
            raise DataError(
                f"The split {dataset.split!r} of {dataset.name} has {len(dataset)} pictures, fewer than one batch "
                f"of {batch_size}: make batches smaller or add pictures."
            )
        self.dataset = dataset
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = epoch
        self.workers = workers
        self.prefetch = prefetch
        order = stream("order", seed, epoch).permutation(len(dataset))
        count = len(dataset) // batch_size
        self._batches = order[: count * batch_size].reshape(count, batch_size)[first_batch:]

    def __len__(self) -> int:
        """How many batches an iteration gives."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="segattn-loader")
        try:
            submitted = ([pool.submit(self._load, int(i)) for i in batch] for batch in self._batches)
            waiting: deque[list[Future[Sample]]] = deque(islice(submitted, self.prefetch + 1))
            while waiting:
                yield _collect(waiting.popleft())
                waiting.extend(islice(submitted, 1))
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, index: int) -> Sample:
        try:
            image, label, name = self.dataset.load(index)
            if self.augmentation is not None:
                rng = stream("augmentation", self.seed, self.epoch, index)
                image, label = augment(image, label, rng, self.augmentation)
            return Sample(normalise(image), label, name)
        except Exception as error:
            error.add_note(f"while loading {self.dataset.name_of(index)}")
            raise


def _collect(futures: list[Future[Sample]]) -> Batch:
    begin = perf_counter()
    samples = [future.result() for future in futures]
    different = next((s for s in samples if s.label.shape != samples[0].label.shape), None)
    if different is not None:
        raise DataError(
            f"{different.name} is {different.label.shape} pixels (height, width), but {samples[0].name} in the "
            f"same batch is {samples[0].label.shape}: crop or resize them to one size."
        )
    images = np.stack([sample.image for sample in samples])
    labels = np.stack([sample.label for sample in samples]).astype(np.int32)
    return Batch(images, labels, tuple(sample.name for sample in samples), perf_counter() - begin)
