"""Averages that a training keeps beside what it optimises: of batch statistics, and of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.contract import Ops
from reference.layers.context import BatchStatistics

Array = Any


def update_running_statistics(
    ops: Ops, params: Mapping[str, Array], statistics: Mapping[str, BatchStatistics], momentum: float,
    *, apply: Array | bool = True,
) -> None:
    """Move each batch norm's running mean and variance, in place, towards what the batch had::

        running ← (1 − momentum)·running + momentum·batch

    with the unbiased variance of the batch, ``n/(n − 1)`` times the biased one, as in PyTorch. Where ``apply`` is
    false, nothing changes.
    """
    names, measured = [], []
    for norm, batch in statistics.items():
        names += [f"{norm}.running_mean", f"{norm}.running_var"]
        measured += [batch.mean, batch.variance * (batch.count / max(1, batch.count - 1))]
    ops.move_towards([params[name] for name in names], measured, [momentum] * len(names), apply=apply)


def update_average(
    ops: Ops, average: Mapping[str, Array], params: Mapping[str, Array], decay: float, step: int,
    *, apply: Array | bool = True,
) -> None:
    """Move the exponential moving average of all parameters, in place, towards ``params`` after ``step`` steps::

        average ← d·average + (1 − d)·params,    d = min(decay, (1 + step)/(10 + step))

    The warm-up of d (as in TensorFlow's ExponentialMovingAverage) lets go of the first weights early. Where
    ``apply`` is false, nothing changes.
    """
    decay = min(decay, (1 + step) / (10 + step))
    targets = [average[name] for name in params]
    ops.move_towards(targets, list(params.values()), [1 - decay] * len(targets), apply=apply)
