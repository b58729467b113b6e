"""Training: :func:`train` yields what happens; each part of a step has a file of its own."""

from __future__ import annotations

from segattn_cli.runs.events import (
    CheckpointSaved,
    Event,
    Interrupted,
    RunFinished,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    Validating,
    WeightsLoaded,
)
from segattn_cli.training.loop import train

__all__ = [
    "CheckpointSaved",
    "Event",
    "Interrupted",
    "RunFinished",
    "RunStarted",
    "StepDone",
    "StoppedEarly",
    "Validated",
    "Validating",
    "WeightsLoaded",
    "train",
]
