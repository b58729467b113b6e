"""All that changes while training: what a checkpoint has to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.contract import Ops
from reference.networks import is_trained
from segattn_cli.runs import EMA, MOMENTUM, arrays_under

Array = Any


@dataclass
class Progress:
    """How far a run is; plain numbers, which stand in a checkpoint's metadata."""

    step: int = 0  # steps done
    seconds: float = 0.0  # spent on them and on validation
    validated_at: int = -1  # the step of the last validation
    best: dict[str, Any] | None = None  # the figures of the best validation
    last: dict[str, Any] | None = None  # and of the last
    since_best: int = 0  # validations that were not better
    journal: int = 0  # bytes of events.jsonl
    loss_scale: dict[str, float] = field(default_factory=dict)  # of LossScale, where there is one


@dataclass
class State:
    """Arrays of a backend by parameter name, and the progress. Random numbers have no state: see data.stream."""

    params: dict[str, Array]
    momentum: dict[str, Array]
    average: dict[str, Array] | None  # the EMA, where one is kept
    progress: Progress

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], progress: Progress, ops: Ops, *, ema: bool) -> State:
        """The state in the arrays of a checkpoint; parameters alone make a fresh one."""

        def own(values: Mapping[str, np.ndarray]) -> dict[str, Array]:
            return {name: ops.asarray(np.array(value)) for name, value in values.items()}

        params = arrays_under(arrays, "")
        zeros = {name: np.zeros_like(value) for name, value in params.items() if is_trained(name)}
        average = own(params | arrays_under(arrays, EMA)) if ema else None
        return cls(own(params), own(zeros | arrays_under(arrays, MOMENTUM)), average, progress)

    @property
    def weights(self) -> dict[str, Array]:
        """What predicts: the average, where one is kept."""
        return self.params if self.average is None else self.average

    def arrays(self, ops: Ops) -> dict[str, np.ndarray]:
        """Everything, in NumPy and under the names of a checkpoint."""
        groups = (("", self.params), (MOMENTUM, self.momentum), (EMA, self.average or {}))
        return {
            prefix + name: ops.to_numpy(array) for prefix, group in groups for name, array in group.items()
        }
