"""Averages that a training keeps beside what it optimises: of batch statistics, and of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference.layers.context import BatchStatistics

Array = Any


def update_running_statistics(
    params: dict[str, Array], statistics: Mapping[str, BatchStatistics], momentum: float
) -> None:
    """Move each batch norm's running mean and variance, in place, towards what the batch had::

        running ← (1 − momentum)·running + momentum·batch

    with the unbiased variance of the batch, ``n/(n − 1)`` times the biased one, as in PyTorch.
    """
    for norm, batch in statistics.items():
        unbiased = batch.variance * (batch.count / max(1, batch.count - 1))
        for name, measured in ((f"{norm}.running_mean", batch.mean), (f"{norm}.running_var", unbiased)):
            params[name] *= 1 - momentum
            params[name] += momentum * measured


def update_average(average: dict[str, Array], params: Mapping[str, Array], decay: float, step: int) -> None:
    """Move the exponential moving average of all parameters, in place, towards ``params`` after ``step`` steps::

        average ← d·average + (1 − d)·params,    d = min(decay, (1 + step)/(10 + step))

    The warm-up of d (as in TensorFlow's ExponentialMovingAverage) lets go of the first weights early.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in params.items():
        average[name] *= decay
        average[name] += (1 - decay) * value
