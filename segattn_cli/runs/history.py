"""What a run's folder says of how it went: also while it goes on, and after it was killed."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from segattn_cli import runs
from segattn_cli.config import Config, config_from
from segattn_cli.errors import CheckpointError, ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Event = dict[str, Any]
Check = Callable[[Any], bool]
#: ``unfinished``: interrupted, killed, or ended by an error.
State = Literal["finished", "going on", "not finite", "unfinished"]


@dataclass(frozen=True)
class History:
    """A run's configuration and the lines of its ``events.jsonl``, by their kind and in their order."""

    folder: Path
    config: Config
    started: tuple[Event, ...]  # one for each session
    weights: Event | None  # of the file that it started from
    steps: tuple[Event, ...]
    validations: tuple[Event, ...]
    non_finite: Event | None  # where it ended by a NaN or an infinity
    unreadable: int  # lines that are no event, but for a last one that is still being written
    result: Event | None  # what result.json holds
    is_locked: bool  # a training is at work in the folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, or none where the run never started."""
        return tuple(self.started[-1].get("classes") or ()) if self.started else ()

    @cached_property
    def step(self) -> int:
        """The last step that is known to be done."""
        return max((event.get("step") or 0 for event in (*self.started, *self.steps, *self.validations)), default=0)

    @property
    def last_step(self) -> int | None:
        """The step at which the run ends if nothing stops it."""
        return self.started[-1].get("steps") if self.started else None

    @property
    def best(self) -> Event | None:
        """The validation with the best mIoU, the first of them."""
        known = [event for event in self.validations if event.get("miou") is not None]
        return max(known, key=lambda event: event["miou"], default=None)

    @property
    def state(self) -> State:
        """How the run ended, if it did."""
        if self.result is not None and self.result.get("steps") == self.step:
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
    is_locked = _is_locked(folder / runs.EVENTS)  # first: what ends in between has then written all its lines
    events, unreadable = _read_events(folder / runs.EVENTS)

    def of_kind(kind: str) -> tuple[Event, ...]:
        return tuple(event for event in events if event["event"] == kind)

    return History(
        folder=folder,
        config=config,
        started=of_kind("started"),
        weights=next(iter(of_kind("weights")), None),
        steps=of_kind("step"),
        validations=of_kind("validated"),
        non_finite=events[-1] if events and events[-1]["event"] == "non_finite" else None,
        unreadable=unreadable,
        result=_read_result(folder / runs.RESULT),
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


def _read_events(path: Path) -> tuple[list[Event], int]:
    """The events in a file, and how many of its lines are none. What follows the last newline is being written."""
    lines = (_read(path) or b"").split(b"\n")[:-1]  # there is none where it was killed before it wrote anything
    events = [event for event in map(_parse, lines) if _fits(event) and isinstance(event.get("event"), str)]
    return events, len(lines) - len(events)


def _read_result(path: Path) -> Event | None:
    result = _parse(_read(path) or b"")
    return result if _fits(result) else None


def _read(path: Path) -> bytes | None:
    """The content of a file, None where there is none; a pipe, for which one would wait, is none."""
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None


def _parse(text: bytes) -> Any:
    """JSON, with ``null`` for NaN and the infinities, which pages do not know; None for what is no JSON."""
    try:
        return json.loads(text, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None


def _is_number(value: Any) -> bool:
    """A number that a float can be: JSON's may be larger."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _all(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _named_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(each is None or _is_number(each) for each in value.values())


#: What stands under the keys that a report reads, where it is not null.
VALUES: dict[str, Check] = {
    **dict.fromkeys(
        (
            "step", "steps", "epoch", "loss", "learning_rate", "gradient_norm", "images_per_second", "wait_share",
            "seconds", "memory", "miou", "pixel_accuracy", "parameters", "training_images", "validation_images",
            "matched", "loss_scale", "skipped",
        ),
        _is_number,
    ),
    **dict.fromkeys(("backend", "precision", "tensor", "file", "layout"), _is_text),
    **dict.fromkeys(("parts", "gates", "per_class_iou"), _named_numbers),
    "classes": _all(_is_text),
    "scales": _all(_is_number),
    "scale_weights": _all(lambda value: value is None or _is_number(value)),
}


def _fits(value: Any) -> bool:
    """Whether ``value`` is an object of JSON whose values are what :data:`VALUES` says."""
    return isinstance(value, dict) and all(
        value.get(key) is None or check(value[key]) for key, check in VALUES.items()
    )


def _is_locked(path: Path) -> bool:
    """Whether a training holds the file, which its :class:`~segattn_cli.runs.event_log.EventLog` locks."""
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
