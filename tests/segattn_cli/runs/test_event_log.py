"""events.jsonl is cut to what a checkpoint knows of."""

from __future__ import annotations

import json
import math
import resource

import pytest

from segattn_cli.errors import OutputError
from segattn_cli.runs.event_log import EventLog


def test_lines_after_the_noted_length_are_cut(tmp_path):
    path = tmp_path / "events.jsonl"
    journal = EventLog(path)
    journal.write("step", step=1, gates={"α": 0.5})
    length = journal.length()
    journal.write("step", step=2)
    journal.close()
    with open(path, "ab") as file:
        file.write(b'{"event": "st')  # a kill in the middle of a line
    again = EventLog(path, length)
    again.write("step", step=2, loss=1.5)
    again.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"event": "step", "step": 1, "gates": {"α": 0.5}},
        {"event": "step", "step": 2, "loss": 1.5},
    ]


def test_a_file_that_is_shorter_than_noted_is_not_padded(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "step"}\n')
    journal = EventLog(path, 1000)
    journal.write("step")
    journal.close()
    assert path.read_text() == '{"event": "step"}\n' * 2


def test_what_json_cannot_say_is_null(tmp_path):
    journal = EventLog(tmp_path / "events.jsonl")
    journal.write("step", loss=math.nan, parts={"main": -math.inf, "position": 0.5}, scale_weights=(1.0, 0.0))
    journal.close()
    assert json.loads((tmp_path / "events.jsonl").read_text()) == {
        "event": "step", "loss": None, "parts": {"main": None, "position": 0.5}, "scale_weights": [1.0, 0.0],
    }  # fmt: skip


def test_a_full_disk(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        EventLog(tmp_path)
    journal = EventLog(tmp_path / "events.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"File too large.*--resume"):
            journal.write("step", step=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.close()
