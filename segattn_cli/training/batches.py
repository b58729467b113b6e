"""Which batches make a step."""

from __future__ import annotations

from collections.abc import Generator
from itertools import count, islice

from segattn_cli.data import Batch, Loader
from segattn_cli.training.setup import TrainingRun


def batches_from(run: TrainingRun, step: int) -> Generator[list[Batch], None, None]:
    """The batches of every step of ``run`` after the first ``step`` ones."""
    config = run.config
    accumulate = config.optimiser.accumulate
    for epoch in count(step // run.steps_per_epoch):
        loader = Loader(
            run.training, batch_size=config.training.batch_size, augmentation=config.augmentation,
            seed=config.training.seed, epoch=epoch, first_batch=step % run.steps_per_epoch * accumulate,
            workers=config.data.workers,
        )
        batches = iter(loader)
        for _ in range(step % run.steps_per_epoch, run.steps_per_epoch):
            if step == run.steps:
                return
            yield list(islice(batches, accumulate))
            step += 1
