"""Which tensor was the first that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from segattn_cli import runs
from segattn_cli.data import Batch
from segattn_cli.errors import DataError, NonFiniteError
from segattn_cli.ranks.communicator import ALONE, Communicator, on_all
from segattn_cli.runs.events import NonFinite
from segattn_cli.training.batches import batches_from
from segattn_cli.training.gradients import Differentiator
from segattn_cli.training.setup import TrainingRun

Array = Any


class _FirstTensor(Exception):
    """Ends the pass in which the tensor was found; the message names it."""


def non_finite_error(run: TrainingRun, step: int, tensor: str) -> NonFiniteError:
    """The error that ends ``run`` at ``step``, after it is logged."""
    run.log(NonFinite(step=step, tensor=tensor))
    last = run.out / runs.LAST
    checkpoint = f"{last} from before it is kept" if last.exists() else "no checkpoint had been written yet"
    return NonFiniteError(
        f"Step {step} is not finite: the first tensor with a NaN or an infinity is {tensor}; {checkpoint}. "
        "A lower optimiser.learning_rate, more schedule.warmup_steps or optimiser.clip_norm may help."
    )


def require_finite(run: TrainingRun, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``arrays``, of which no checkpoint may hold a NaN or an infinity; a step too large makes them.

    Raises :class:`NonFiniteError`.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            kind = "the optimiser's state" if name.startswith(runs.OPTIMISER_STATE) else "the parameter"
            raise non_finite_error(run, run.state.progress.step, f"{kind} {name}")
    return arrays


def spoilt_tensor(run: TrainingRun, step: int) -> str:
    """The tensor that spoilt ``step``. It left the parameters as they were: the step is computed again."""
    with closing(batches_from(run, step - 1)) as steps:
        try:
            batches = next(steps)
        except DataError:  # an image was damaged since; to save now would save steps that changed nothing
            return "unknown, for its images cannot be read any more"
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return first_non_finite(run.differentiator, run.state.params, batches, step - 1, run.comm)


def first_non_finite(
    differentiator: Differentiator, params: dict[str, Array], batches: Sequence[Batch], step: int,
    comm: Communicator = ALONE,
) -> str:
    """Run a step again and name the first tensor with a NaN or an infinity, in the order of computation.

    Parameters come first, then images, then what each layer makes of them, then gradients; of several ranks, those
    of the first come first.
    """
    to_numpy = differentiator.ops.to_numpy

    def check(name: str, array: Array) -> None:
        if not np.isfinite(to_numpy(array)).all():
            raise _FirstTensor(f"the gradient of {name[2:]}" if name.startswith("d ") else f"the output of {name}")

    def parameter() -> str | None:
        spoilt = (name for name, value in params.items() if not np.isfinite(to_numpy(value)).all())
        return next((f"the parameter {name}" for name in spoilt), None)

    def image() -> str | None:
        named = (pair for batch in batches for pair in zip(batch.names, batch.images, strict=True))
        spoilt = (name for name, each in named if not np.isfinite(each).all())
        return next((f"the image {name}" for name in spoilt), None)

    fractions = differentiator.fractions(batches, comm)
    for find in (parameter, image):
        found = [name for name in on_all(comm, find) if name is not None]
        if found:
            return found[0]
    try:
        on_all(comm, lambda: differentiator.observe(params, batches, step, fractions, check, comm))
    except _FirstTensor as first:
        return str(first)
    return "the norm of all gradients together"
