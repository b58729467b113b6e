"""Batches of images, decoded and augmented in threads during the computation."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import NamedTuple

import numpy as np

from segattn_cli.data.augment import AugmentationConfig, augment
from segattn_cli.data.dataset import Dataset, Sample
from segattn_cli.data.mixing import classmix_part, cutmix_part, paste
from segattn_cli.data.normalise import normalise
from segattn_cli.data.random import stream
from segattn_cli.errors import DataError, counted


class Batch(NamedTuple):
    """The images and labels of one pass."""

    images: np.ndarray  # (B, H, W, 3) float32, normalised
    labels: np.ndarray  # (B, H, W) int32, 255 = ignored
    names: tuple[str, ...]
    wait_seconds: float  # time that the consumer waited for this batch


class Loader:
    """One epoch of ``dataset`` in random order, as an iterable of :class:`Batch`.

    The order depends on the seed and the epoch; an augmentation, and the other image of CutMix and ClassMix, on the
    seed, the epoch and the sample. None depends on the number of workers or on the batch at which an epoch is
    resumed. Images that do not fill a last batch are left out of this epoch.

    At most ``prefetch + 1`` batches are in memory. The threads end with the iteration, also where it is left early.
    An error in a thread is raised when its batch is due.

    Args:
        augmentation: ``None`` leaves images as they are; a batch of several sizes is then an error.
        first_batch: number of batches to skip when an epoch is resumed.
        of_each: ``(n, first, end)``: of every n batches, only those from ``first`` up to ``end``, as one of several
            processes loads them.
        workers: number of threads that decode and augment.
        prefetch: number of batches that they prepare in advance.

    Raises:
        DataError: for fewer images than a batch, images of several sizes, and files that cannot be read.
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
        of_each: tuple[int, int, int] = (1, 0, 1),
        workers: int = 2,
        prefetch: int = 2,
    ) -> None:
        if len(dataset) < batch_size:
            raise DataError(
                f"The split {dataset.split!r} of {dataset.name} has {counted(len(dataset), 'image')}, fewer than "
                f"one batch of {batch_size}: make batches smaller or add images."
            )
        self.dataset = dataset
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = epoch
        self.workers = workers
        self.prefetch = prefetch
        order = stream("order", seed, epoch).permutation(len(dataset))
        count = len(dataset) // batch_size
        batches = order[: count * batch_size].reshape(count, batch_size)[first_batch:]
        every, first, end = of_each
        number = np.arange(len(batches)) % every
        self._batches = batches[(first <= number) & (number < end)]

    def __len__(self) -> int:
        """The number of batches of an iteration."""
        return len(self._batches)

    def __iter__(self) -> Generator[Batch, None, None]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="segattn-loader")
        try:
            submitted = ([pool.submit(self._load, int(i)) for i in batch] for batch in self._batches)
            pending: deque[list[Future[Sample]]] = deque(islice(submitted, self.prefetch + 1))
            while pending:
                yield _collect(pending.popleft())
                pending.extend(islice(submitted, 1))
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, index: int) -> Sample:
        """The sample ``index`` as it is trained on in this epoch."""
        image, label, name = self._view(index, stream("augmentation", self.seed, self.epoch, index))
        if self.augmentation is not None:
            for method, probability, choose_part in (
                ("cutmix", self.augmentation.cutmix, cutmix_part),
                ("classmix", self.augmentation.classmix, classmix_part),
            ):
                rng = stream(method, self.seed, self.epoch, index)
                if len(self.dataset) > 1 and rng.random() < probability:
                    other = (index + int(rng.integers(1, len(self.dataset)))) % len(self.dataset)
                    other_image, other_label, _ = self._view(other, rng)
                    part = choose_part(other_label, rng)
                    image, label = paste(image, label, other_image, other_label, part)
        return Sample(normalise(image), label, name)

    def _view(self, index: int, rng: np.random.Generator) -> Sample:
        """The sample ``index``, augmented by the random numbers of ``rng``."""
        try:
            image, label, name = self.dataset.load(index)
            if self.augmentation is not None:
                image, label = augment(image, label, rng, self.augmentation)
            return Sample(image, label, name)
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
