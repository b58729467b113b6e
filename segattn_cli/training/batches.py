"""Which batches make a step."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import count, islice

from segattn_cli.data import Batch, Loader
from segattn_cli.ranks.communicator import together
from segattn_cli.training.setup import TrainingRun


def batches_from(run: TrainingRun, step: int) -> Generator[list[Batch], None, None]:
    """This rank's batches of every step of ``run`` after the first ``step`` ones.

    Of the ``optimiser.accumulate`` batches of a step, each rank has as many, those of rank 0 first. An error on one
    rank is raised on all.
    """
    config, comm = run.config, run.comm
    own = config.optimiser.accumulate // comm.size
    for epoch in count(step // run.steps_per_epoch):
        done = step % run.steps_per_epoch
        loader = Loader(
            run.training, batch_size=config.training.batch_size, augmentation=config.augmentation,
            seed=config.training.seed, epoch=epoch, first_batch=done * config.optimiser.accumulate,
            of_each=(config.optimiser.accumulate, comm.rank * own, (comm.rank + 1) * own),
            workers=config.data.workers,
        )
        with closing(iter(loader)) as batches:
            for _ in range(done, run.steps_per_epoch):
                if step == run.steps:
                    return
                with together(comm, "its next images"):
                    of_step = list(islice(batches, own))
                yield of_step
                step += 1
