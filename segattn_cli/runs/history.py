"""The history of a run, read from its folder: also while it goes on, and after it was killed."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from segattn_cli import runs
from segattn_cli.config import Config, config_from
from segattn_cli.errors import CheckpointError, ConfigError
from segattn_cli.runs.event_log import line_format
from segattn_cli.runs.events import LoggedEvent, NonFinite, RunStarted, StepDone, Validated, WeightsLoaded

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: ``unfinished``: interrupted, killed, or ended by an error.
State = Literal["finished", "going on", "not finite", "unfinished"]
T = TypeVar("T")


@dataclass(frozen=True)
class RunResult:
    """The part of ``result.json`` that says how long the run was."""

    steps: int
    seconds: float | None = None


@dataclass(frozen=True)
class History:
    """A run's configuration and its logged events, by their class and in their order."""

    folder: Path
    config: Config
    started: tuple[RunStarted, ...]  # one for each session
    weights: WeightsLoaded | None  # the file from which it started
    steps: tuple[StepDone, ...]
    validations: tuple[Validated, ...]
    non_finite: NonFinite | None  # where a NaN or an infinity ended it
    unreadable: int  # lines that are no event, except for a last one that is still being written
    result: RunResult | None
    is_locked: bool  # a training is running in the folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, or none where the run never started."""
        return self.started[-1].classes if self.started else ()

    @cached_property
    def step(self) -> int:
        """The last step that is known to be done."""
        known: list[RunStarted | StepDone | Validated] = [*self.started, *self.steps, *self.validations]
        return max((event.step for event in known), default=0)

    @property
    def last_step(self) -> int | None:
        """The step at which the run ends if nothing stops it."""
        return self.started[-1].steps if self.started else None

    @property
    def best(self) -> Validated | None:
        """The validation with the best mIoU, the first of them."""
        known = [event for event in self.validations if math.isfinite(event.miou)]
        return max(known, key=lambda event: event.miou, default=None)

    @property
    def state(self) -> State:
        """How the run ended, if it did."""
        if self.result is not None and self.result.steps == self.step:
            return "finished"
        if self.is_locked:
            return "going on"
        return "unfinished" if self.non_finite is None else "not finite"


def read_history(folder: Path | str) -> History:
    """Read the folder of a run, whatever state that is in.

    Raises:
        CheckpointError: for a folder that is no run's, and for one whose files may not be read.
        ConfigError: for a configuration that this segattn cannot read.
    """
    folder = Path(folder)
    config = _read_config(folder)
    is_locked = _is_locked(folder / runs.EVENTS)  # first: a run that ends in between has then written all its lines
    events, unreadable = _read_events(folder / runs.EVENTS)

    def of_class(wanted: type[T]) -> tuple[T, ...]:
        return tuple(event for event in events if isinstance(event, wanted))

    return History(
        folder=folder,
        config=config,
        started=of_class(RunStarted),
        weights=next(iter(of_class(WeightsLoaded)), None),
        steps=of_class(StepDone),
        validations=of_class(Validated),
        non_finite=events[-1] if events and isinstance(events[-1], NonFinite) else None,
        unreadable=unreadable,
        result=_parse(TypeAdapter(RunResult), _read(folder / runs.RESULT) or b""),
        is_locked=is_locked,
    )


def _read_config(folder: Path) -> Config:
    path = folder / runs.CONFIG
    text = _read(path)
    if text is None:
        raise CheckpointError(
            f"{folder} is no run: it has no {runs.CONFIG}; give a folder that `segattn train --out` made."
        )
    try:
        return config_from(tomllib.loads(text.decode()))
    except (ConfigError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no configuration of this segattn: {error}") from None


def _read_events(path: Path) -> tuple[list[LoggedEvent], int]:
    """The events in a file, and how many of its lines are none. What follows the last newline is being written."""
    lines = (_read(path) or b"").split(b"\n")[:-1]  # no file where the run was killed before it wrote anything
    events = [event for line in lines if (event := _parse(line_format(), line)) is not None]
    return events, len(lines) - len(events)


def _parse(format: TypeAdapter[T], text: bytes) -> T | None:
    """The value that ``text`` holds as JSON, or None where it has another format."""
    try:
        return format.validate_json(text, strict=True)
    except ValidationError:
        return None


def _read(path: Path) -> bytes | None:
    """The content of a file, None where there is none; a pipe, which would block, counts as none."""
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None


def _is_locked(path: Path) -> bool:
    """Whether a training holds the lock of its :class:`~segattn_cli.runs.event_log.EventLog`."""
    if fcntl is None or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a file system without locks
        return False
    return False
