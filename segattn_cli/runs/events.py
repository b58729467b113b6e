"""What a training reports while it runs: a value for each thing that happens, for whoever draws or logs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class RunStarted:
    """Everything is read, checked and built; the first step comes next."""

    kind: ClassVar[str] = "started"
    out: Path
    backend: str
    precision: str
    step: int  # 0, or where the run is taken up
    steps: int  # of the whole run
    steps_per_epoch: int
    parameters: int  # numbers that are trained
    training_images: int
    validation_images: int
    classes: tuple[str, ...]
    scales: tuple[float, ...]
    data: str = ""  # what the masks are taken to mean, and why
    warnings: tuple[str, ...] = ()  # what is odd about the data set


@dataclass(frozen=True)
class WeightsLoaded:
    """Training starts from a file of weights; comes after :class:`RunStarted`."""

    kind: ClassVar[str] = "weights"
    file: Path
    layout: str  # whose names it has
    matched: int  # parameters that were taken from it
    untouched: tuple[str, ...]  # parts of the network that it has nothing for, which start at random
    reset: tuple[str, ...]  # parameters that it has for another number of classes, which start at random
    unused: tuple[str, ...]  # its tensors that nothing here wants


@dataclass(frozen=True)
class StepDone:
    """One step of the optimiser."""

    kind: ClassVar[str] = "step"
    step: int  # done so far, this one included
    epoch: float  # passes over the data set so far
    loss: float  # the weighted sum of the parts
    parts: dict[str, float]
    gradient_norm: float  # before clipping
    learning_rate: float  # of the backbone's weights
    gates: dict[str, float]  # learned scalars, by parameter name
    scale_weights: tuple[float, ...] | None  # mean over the batch's pixels; None without attention to scale
    seconds: float  # of this step
    wait_share: float  # of that time, for data
    images_per_second: float
    memory: int  # bytes: the most that the process has held so far
    seconds_left: float  # of training, without validation
    loss_scale: float | None = None  # of float16, when this step began
    skipped: int = 0  # steps whose gradients overflowed float16, so far


@dataclass(frozen=True)
class Validated:
    """The network has been evaluated on the validation set."""

    kind: ClassVar[str] = "validated"
    step: int
    epoch: float
    miou: float
    pixel_accuracy: float
    per_class_iou: dict[str, float | None]  # None for a class that is neither there nor predicted
    scale_weights: tuple[float, ...] | None
    gates: dict[str, float]
    seconds: float
    best: bool  # better than every one before


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is safely on the disk."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    path: Path


@dataclass(frozen=True)
class FileOmitted:
    """A file of the run's folder was not written; training goes on without it."""

    kind: ClassVar[str] = "omitted"
    path: Path
    reason: str


@dataclass(frozen=True)
class StoppedEarly:
    """No validation was better than the best one for as long as ``training.patience`` allows."""

    kind: ClassVar[str] = "stopped_early"
    step: int
    best_step: int


@dataclass(frozen=True)
class Interrupted:
    """Somebody asked for an end; the step at hand is done and saved."""

    kind: ClassVar[str] = "interrupted"
    step: int
    out: Path


@dataclass(frozen=True)
class RunFinished:
    """The run's folder is complete."""

    kind: ClassVar[str] = "finished"
    out: Path
    result: dict[str, Any]  # what result.json holds


Event = (
    RunStarted | WeightsLoaded | StepDone | Validated | CheckpointSaved | FileOmitted | StoppedEarly | Interrupted
    | RunFinished
)
