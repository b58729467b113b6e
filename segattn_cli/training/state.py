"""All that changes while training: the content of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from backends.contract import Ops
from segattn_cli.runs import EMA, OPTIMISER_STATE, arrays_under
from segattn_cli.runs.events import Validated
from segattn_cli.training.optimiser import Optimiser

Array = Any
Count = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass
class Progress:
    """How far a run is; a checkpoint's metadata holds it as JSON."""

    step: Count = 0  # steps done
    seconds: NotNegative = 0.0  # spent on them and on validation
    validated_at: int = -1  # the step of the last validation
    previewed_at: int = -1  # the step of the preview
    best: Validated | None = None  # the best validation
    last: Validated | None = None  # the last one
    since_best: Count = 0  # validations that were not better
    journal: Count = 0  # bytes of events.jsonl
    #: The arguments of LossScale, where there is one.
    loss_scale: dict[Literal["scale", "good_steps", "skipped"], NotNegative] = field(default_factory=dict)


@dataclass
class State:
    """Arrays of a backend by parameter name, and the progress. Random numbers have no state: see data.stream."""

    params: dict[str, Array]
    optimiser: dict[str, Array]  # its state, under the names of a checkpoint
    average: dict[str, Array] | None  # the moving average of the parameters (EMA), where there is one
    progress: Progress

    @classmethod
    def of(
        cls, arrays: Mapping[str, np.ndarray], progress: Progress, ops: Ops, optimiser: Optimiser, *, ema: bool
    ) -> State:
        """The state in the arrays of a checkpoint; parameters alone make a new one."""

        def copied(values: Mapping[str, np.ndarray]) -> dict[str, Array]:
            return {name: ops.asarray(np.array(value, order="C")) for name, value in values.items()}

        params = arrays_under(arrays, "")
        saved = {name: value for name, value in arrays.items() if name.startswith(OPTIMISER_STATE)}
        average = copied(params | arrays_under(arrays, EMA)) if ema else None
        return cls(copied(params), copied(saved or optimiser.initial_state(params)), average, progress)

    @property
    def weights(self) -> dict[str, Array]:
        """The parameters that predict: the average, where there is one."""
        return self.params if self.average is None else self.average

    def gates(self) -> dict[str, Array]:
        """The gates among the weights: learned scalars that start at 0."""
        return {name: value for name, value in self.weights.items() if name.endswith(".gate")}

    def arrays(self, ops: Ops) -> dict[str, np.ndarray]:
        """Everything, in NumPy and under the names of a checkpoint."""
        groups = (("", self.params), ("", self.optimiser), (EMA, self.average or {}))
        return {
            prefix + name: ops.to_numpy(array) for prefix, group in groups for name, array in group.items()
        }
