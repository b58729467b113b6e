"""events.jsonl is cut to what a checkpoint knows of, and read as it was written."""

from __future__ import annotations

import fcntl
import json
import math
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from segattn_cli.errors import OutputError
from segattn_cli.runs.event_log import EventLog, line_format
from segattn_cli.runs.events import LoggedEvent, NonFinite

from .folders import WHOLE, event, step

LINES = (*WHOLE, {"event": "non_finite", "step": 5, "tensor": "the parameter α"})
LOADED = {
    "event": "weights", "file": "/a/resnet18.pth", "layout": "torchvision", "matched": 102, "untouched": ["head"],
    "reset": [], "unused": ["fc.weight"],
}
PREVIEWED = {
    "event": "previewed", "step": 1, "epoch": 0.5, "miou": 0.1, "pixel_accuracy": 0.4,
    "per_class_iou": {"sky": None, "road": 0.1}, "images": 2, "seconds": 0.1, "seconds_left": None,
}


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_read_as_it_was_written(tmp_path: Path) -> None:
    events = [event(line) for line in (*LINES, LOADED, PREVIEWED)]
    assert {type(each) for each in events} == set(get_args(LoggedEvent))
    log = EventLog(tmp_path / "events.jsonl")
    for each in events:
        log.write(each)
    log.close()
    written = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert [line_format().validate_json(line, strict=True) for line in written] == events
    for line, wanted in zip(lines_of(tmp_path / "events.jsonl"), (*LINES, LOADED, PREVIEWED), strict=True):
        assert wanted.items() <= line.items()
        assert next(iter(line)) == "event"


def test_lines_after_the_noted_length_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write(event(step(1)))
    length = log.length()
    log.write(event(step(2)))
    log.close()
    with open(path, "ab") as file:
        file.write(b'{"event": "st')  # a kill in the middle of a line
    again = EventLog(path)
    again.cut(length)
    again.write(event(step(2, loss=1.5)))
    again.close()
    assert [(line["step"], line["loss"]) for line in lines_of(path)] == [(1, 4.0), (2, 1.5)]


def test_a_file_that_is_shorter_than_noted_is_not_padded(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "step"}\n')
    log = EventLog(path)
    log.cut(1000)
    log.write(NonFinite(step=1, tensor="the norm"))
    log.close()
    assert path.read_text() == '{"event": "step"}\n{"event":"non_finite","step":1,"tensor":"the norm"}\n'


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    parts = {"main": -math.inf, "position": 0.5}
    log.write(replace(event(step(1)), loss=math.nan, parts=parts, scale_weights=(1.0, math.inf)))
    log.close()
    (line,) = lines_of(tmp_path / "events.jsonl")
    assert (line["loss"], line["parts"], line["scale_weights"]) == (
        None, {"main": None, "position": 0.5}, [1.0, None],
    )  # fmt: skip
    assert math.isnan(event(line).loss)


def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        EventLog(tmp_path)
    log = EventLog(tmp_path / "events.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"File too large.*--resume"):
            log.write(event(step(1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.close()


def test_a_reader_that_looks_keeps_no_training_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    path.touch()
    with open(path, "rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(reader, fcntl.LOCK_UN))
        log = EventLog(path)
    assert log.is_locked
    log.close()


def test_one_training_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = EventLog(path)
    first.write(event(step(1)))
    with pytest.raises(OutputError, match="Another training is running"):
        EventLog(path)
    first.close()
    assert len(lines_of(path)) == 1
    EventLog(path).close()
