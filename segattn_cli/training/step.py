"""One step of the optimiser: its arithmetic, and the record of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from backends.contract import Ops
from segattn_cli.data import Batch
from segattn_cli.training.averages import update_average, update_running_statistics
from segattn_cli.training.schedule import learning_rate
from segattn_cli.training.setup import TrainingRun

Array = Any
Value = TypeVar("Value")


class StepRecord(NamedTuple, Generic[Value]):
    """The values of one step: arrays ``()``, which a GPU may still compute, or the numbers read from them."""

    step: int  # done so far, this one included
    images: int
    wait_seconds: float  # for data
    learning_rate: float  # of the schedule
    loss: Value
    parts: dict[str, Value]
    gradient_norm: Value  # before clipping
    gates: dict[str, Value]
    scale_weights: tuple[Value, ...] | None
    scaler: dict[str, Value]  # what LossScale.state gives after the step
    rank_seconds: list[float]  # that each rank took for its batches, without the waiting for others
    communication: float  # seconds that went to it on the rank which waited least for others
    hidden_communication: float  # seconds that it took there while gradients were computed


def take_step(run: TrainingRun, batches: Sequence[Batch]) -> StepRecord[Array]:
    """Move the state of ``run`` by one step on ``batches``, whose gradients count as one with those of all ranks.

    Nothing is read here: on a GPU, the step is queued when this returns. A step whose loss or gradients are not
    finite changes nothing; nor, where no loss scale can help, does any step after it.
    """
    config, state, ops, comm = run.config, run.state, run.ops, run.comm
    step, scale = state.progress.step, run.scaler.scale
    rate = learning_rate(config.schedule, config.optimiser.learning_rate, step, run.steps)

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # whoever reads the record finds it out
        gradients = run.differentiator.gradients(state.params, batches, step, scale=scale, comm=comm)
        norm = gradients.norm / scale
        total = norm + gradients.loss
        accepted = run.scaler.accept(total - total == 0)  # a NaN or an infinity is not 0
        clipping: Array = 1.0
        if config.optimiser.clip_norm is not None:
            clipping = config.optimiser.clip_norm / np.maximum(norm, config.optimiser.clip_norm)

    with np.errstate(over="ignore", invalid="ignore"):  # what a step too large spoils is found when it is saved
        run.optimiser.step(
            ops, state.params, state.optimiser, gradients.gradients, rate, scale=clipping / scale, apply=accepted
        )
        for statistics in gradients.statistics:
            momentum = config.training.batch_norm_momentum
            update_running_statistics(ops, state.params, statistics, momentum, apply=accepted)
        if state.average is not None and config.training.ema is not None:
            update_average(ops, state.average, state.params, config.training.ema, step + 1, apply=accepted)

    state.progress.step = step + 1
    loads = comm.gather(run.load.lap(batches))
    least = min(loads, key=lambda load: load.communicating)
    return StepRecord(
        step=step + 1,
        images=comm.size * sum(len(batch.images) for batch in batches),
        wait_seconds=max(load.waiting for load in loads),
        learning_rate=rate,
        loss=gradients.loss,
        parts=gradients.parts,
        gradient_norm=norm,
        gates={name: gate.copy() for name, gate in state.gates().items()},
        scale_weights=None if gradients.scale_weights is None else tuple(gradients.scale_weights),
        scaler=run.scaler.state(),
        rank_seconds=[load.waiting + seconds for load, seconds in zip(loads, gradients.seconds, strict=True)],
        communication=least.communicating,
        hidden_communication=least.hidden,
    )


def read(ops: Ops, records: Sequence[StepRecord[Array]]) -> list[StepRecord[float]]:
    """Wait for the device, and return the ``records`` with numbers in place of arrays."""
    return to_numbers(ops, list(records))


def to_numbers(ops: Ops, values: Any) -> Any:
    """``values`` with a number in place of each array ``()``: one wait for the device, one transfer a dtype.

    >>> import reference.ops
    >>> to_numbers(reference.ops, [{"loss": np.float32(0.5)}, (np.float64(0.1), None, 7)])
    [{'loss': 0.5}, (0.1, None, 7)]
    """
    arrays: list[Array] = []
    _map_arrays(arrays.append, values)
    by_dtype: dict[Any, list[int]] = {}
    for index, array in enumerate(arrays):
        by_dtype.setdefault(array.dtype, []).append(index)
    numbers = {
        index: number
        for indices in by_dtype.values()
        for index, number in zip(
            indices, ops.to_numpy(ops.stack([arrays[index] for index in indices])).tolist(), strict=True
        )
    }
    order = iter(range(len(arrays)))
    return _map_arrays(lambda _: numbers[next(order)], values)


def _map_arrays(function: Callable[[Array], Any], values: Any) -> Any:
    """``values``, in dicts, lists and tuples, with ``function(array)`` in place of each array."""
    if isinstance(values, dict):
        return {name: _map_arrays(function, value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        items = [_map_arrays(function, value) for value in values]
        return type(values)(*items) if hasattr(values, "_fields") else type(values)(items)
    return function(values) if hasattr(values, "dtype") else values
