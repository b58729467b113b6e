"""Training: :func:`train` yields the events; each part of a step has a file of its own."""

from __future__ import annotations

from segattn_cli.runs.events import (
    CheckpointSaved,
    FileOmitted,
    Interrupted,
    Previewed,
    RunFinished,
    RunStarted,
    StepDone,
    StoppedEarly,
    Validated,
    WeightsLoaded,
)
from segattn_cli.training.loop import Event, train

__all__ = [
    "CheckpointSaved",
    "Event",
    "FileOmitted",
    "Interrupted",
    "Previewed",
    "RunFinished",
    "RunStarted",
    "StepDone",
    "StoppedEarly",
    "Validated",
    "WeightsLoaded",
    "train",
]
