"""The events of a training: what happens, as values for whoever displays or logs it.

The event log has a line of JSON for each event of :data:`LoggedEvent`, and these classes are its schema.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

#: A float that may be NaN or infinite, for which JSON has no notation: the log has null, which is read as NaN.
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """Everything is read, checked and built; the first step comes next."""

    event: Literal["started"] = "started"
    out: Path
    backend: str
    precision: str = "float32"
    step: int  # 0, or the step from which the run is resumed
    steps: int  # of the whole run
    steps_per_epoch: int
    parameters: int  # numbers that are trained
    training_images: int
    validation_images: int
    classes: tuple[str, ...]
    scales: tuple[float, ...]
    ranks: int = 1  # processes that train together
    data: str = ""  # what the masks are taken to mean, and why
    warnings: tuple[str, ...] = ()  # what is odd about the data set and the configuration


@dataclass(frozen=True, kw_only=True)
class WeightsLoaded:
    """Training starts from a file of weights; comes after :class:`RunStarted`."""

    event: Literal["weights"] = "weights"
    file: Path
    layout: str  # whose parameter names it has
    matched: int  # parameters that were taken from it
    untouched: tuple[str, ...]  # parts of the network for which it has nothing; they start at random
    reset: tuple[str, ...]  # parameters that it has for another number of classes; they start at random
    unused: tuple[str, ...]  # tensors of the file that the network does not have


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One step of the optimiser."""

    event: Literal["step"] = "step"
    step: int  # done so far, this one included
    epoch: Number  # passes over the data set so far
    loss: Number  # the weighted sum of the parts
    parts: dict[str, Number]
    gradient_norm: Number  # before clipping
    learning_rate: Number  # of the schedule
    gates: dict[str, Number]  # learned scalars, by parameter name
    scale_weights: tuple[Number, ...] | None  # mean over the batch's pixels; None without attention to scale
    seconds: Number  # of this step
    wait_share: Number  # fraction of that time that was spent waiting for data
    images_per_second: Number
    memory: int  # bytes: the most that the process has held so far
    seconds_left: Number  # of training, without validation; NaN where it cannot be estimated yet
    loss_scale: float | None = None  # of float16, when this step began
    skipped: int = 0  # steps so far whose gradients overflowed float16
    communication_share: Number = 0.0  # fraction of the time that the rank which waited least spent communicating
    hidden_communication_share: Number = 0.0  # fraction in which it communicated while it computed
    rank_seconds: tuple[float, ...] = ()  # that each of several ranks took for its batches of this step


@dataclass(frozen=True, kw_only=True)
class Validated:
    """The network has been evaluated on the validation set."""

    event: Literal["validated"] = "validated"
    step: int
    epoch: Number
    miou: Number
    pixel_accuracy: Number
    per_class_iou: dict[str, float | None]  # None for a class that is neither in the truth nor predicted
    scale_weights: tuple[Number, ...] | None
    gates: dict[str, Number]
    seconds: Number
    best: bool  # better than every one before
    change: float | None = None  # of the mIoU since the validation before
    seconds_left: float | None = None  # of the run, with its validations


@dataclass(frozen=True, kw_only=True)
class Previewed:
    """The network has been evaluated on a few images of the validation set, for a first impression.

    When this happens depends on the clock, so nothing else depends on it.
    """

    event: Literal["previewed"] = "previewed"
    step: int
    epoch: Number
    miou: Number
    pixel_accuracy: Number
    per_class_iou: dict[str, float | None]
    images: int
    seconds: Number
    seconds_left: float | None  # of the run, with its validations


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """A step ended the training by a NaN or an infinity."""

    event: Literal["non_finite"] = "non_finite"
    step: int
    tensor: str  # the first that is not finite, in the order of computation


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is safely on the disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class FileOmitted:
    """A file of the run's folder was not written; training goes on without it."""

    path: Path
    reason: str


@dataclass(frozen=True)
class StoppedEarly:
    """No validation was better than the best one for as long as ``training.patience`` allows."""

    step: int
    best_step: int


@dataclass(frozen=True)
class Interrupted:
    """The training was asked to stop; the current step is done and saved."""

    step: int
    out: Path


@dataclass(frozen=True)
class RunFinished:
    """The run's folder is complete."""

    out: Path
    result: dict[str, Any]  # the content of result.json


LoggedEvent = RunStarted | WeightsLoaded | StepDone | Previewed | Validated | NonFinite
Event = LoggedEvent | CheckpointSaved | FileOmitted | StoppedEarly | Interrupted | RunFinished
