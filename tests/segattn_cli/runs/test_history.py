"""What a run's folder says: of a whole run, of one that goes on, of one that was killed."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from segattn_cli.config import differences, load_config
from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.errors import CheckpointError, ConfigError
from segattn_cli.reporting import read_history
from segattn_cli.runs.event_log import EventLog
from segattn_cli.runs.names import labels

from .folders import WHOLE, config, event, run_folder, started, step, validated


def test_a_whole_run(tmp_path: Path) -> None:
    found = read_history(run_folder(tmp_path / "run", result={"steps": 4, "seconds": 2.0}))
    assert found.config == config()
    assert found.state == "finished"
    assert (found.step, found.last_step) == (4, 4)
    assert [each.step for each in found.steps] == [1, 2, 3, 4]
    assert [each.miou for each in found.validations] == [0.25, 0.5]
    assert found.best is not None
    assert found.best.step == 4
    assert found.classes == CLASSES
    assert (found.unreadable, found.non_finite, found.weights) == (0, None, None)


def test_the_first_of_equally_good_validations_is_the_best(tmp_path: Path) -> None:
    events = [started(), validated(2, 0.5), validated(4, 0.5), validated(6, 0.25)]
    best = read_history(run_folder(tmp_path, events)).best
    assert best is not None
    assert best.step == 2


def test_a_run_that_still_goes_on(tmp_path: Path) -> None:
    run = run_folder(tmp_path, WHOLE[:3])
    log = EventLog(run / "events.jsonl")
    assert read_history(run).state == "going on"
    log.write(event(step(3)))
    assert read_history(run).step == 3
    log.close()
    assert read_history(run).state == "unfinished"


def test_looking_does_not_keep_a_training_out(tmp_path: Path) -> None:
    run = run_folder(tmp_path, WHOLE[:3])
    read_history(run)
    EventLog(run / "events.jsonl").close()


def test_a_longer_run_that_began_after_a_result_is_not_finished(tmp_path: Path) -> None:
    events = [*WHOLE, started(step=4, steps=8), step(5)]
    found = read_history(run_folder(tmp_path, events, result={"steps": 4}))
    assert (found.state, found.step, found.last_step) == ("unfinished", 5, 8)


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_line_that_is_being_written_is_left_out(tmp_path: Path, cut: int) -> None:
    run = run_folder(tmp_path)
    path = run / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    found = read_history(run)
    assert len(found.validations) == 1
    assert (found.step, found.unreadable) == (4, 0)


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    rest = b'\x00\xff\n[1]\n{"no": "event"}\n' + b"[" * 100_000 + b"\n"
    found = read_history(run_folder(tmp_path, rest=rest))
    assert (found.unreadable, found.step) == (4, 4)


def test_killed_before_anything_was_written(tmp_path: Path) -> None:
    run = run_folder(tmp_path, [])
    for _ in range(2):
        found = read_history(run)
        assert (found.state, found.step, found.last_step) == ("unfinished", 0, None)
        assert (found.classes, found.best) == ((), None)
        (run / "events.jsonl").unlink(missing_ok=True)


def test_ended_by_what_is_not_finite(tmp_path: Path) -> None:
    end = {"event": "non_finite", "step": 3, "tensor": "head.position.query"}
    found = read_history(run_folder(tmp_path / "a", [*WHOLE[:3], end]))
    assert found.state == "not finite"
    assert found.non_finite == event(end)
    resumed = run_folder(tmp_path / "b", [*WHOLE[:3], end, started(step=2), step(3)])
    assert read_history(resumed).state == "unfinished"


def test_numbers_that_json_does_not_know_are_not_finite(tmp_path: Path) -> None:
    line = json.dumps(step(5, loss=math.nan, epoch=math.inf, gradient_norm=None)).encode() + b"\n"
    last = read_history(run_folder(tmp_path, rest=line)).steps[-1]
    assert last.step == 5
    assert not any(math.isfinite(value) for value in (last.loss, last.epoch, last.gradient_norm))


def test_a_file_that_may_not_be_read_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    run = run_folder(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CheckpointError, match=r"config\.toml cannot be read: Permission denied\.$"):
        read_history(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (run / "events.jsonl").unlink()
    os.mkfifo(run / "events.jsonl")
    assert read_history(run).step == 0


def test_a_damaged_result_is_none(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (run / "result.json").write_text('{"steps": 4')
    assert read_history(run).result is None


@pytest.mark.parametrize("name", ["", "nowhere", "file"])
def test_what_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"is no run: it has no config\.toml; give a folder"):
        read_history(tmp_path / name)


@pytest.mark.parametrize("text", ["name = [", "[training]\nepoch = 3\n", "\xff"])
def test_a_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"config\.toml is no configuration of this segattn: "):
        read_history(tmp_path)


def test_differences_are_in_the_order_of_the_configuration() -> None:
    configs = [
        load_config("tiny-scenes", overrides)
        for overrides in (
            [], ["training.ema=0.9", "network.scales=[1.0,0.75]"], ["name=other", "network.scales=[1.0,0.75]"],
        )
    ]
    assert differences(configs) == [
        ("name", ("tiny-scenes", "tiny-scenes", "other")),
        ("network.scales", ((1.0, 0.5), (1.0, 0.75), (1.0, 0.75))),
        ("training.ema", (None, 0.9, None)),
    ]
    assert differences(configs[:1]) == []


def test_labels_tell_apart_what_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert labels([Path()]) == [tmp_path.name]
    assert labels([Path("a/run"), Path("b/run/")]) == ["a/run", "b/run"]
    assert labels([Path("run"), Path("run/run")]) == [f"{tmp_path.name}/run", "run/run"]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(step(2) | {"step": "many"}),
        json.dumps(step(2)).replace('"step": 2', '"step": 1e999'),
        json.dumps(step(2) | {"event": ["step"]}), json.dumps(step(2) | {"event": "pause"}),
        json.dumps(step(2, parts=[1, 2])),
        json.dumps(validated(2, 0.5) | {"miou": {}}), '{"event": "step", "step": 2}', "[]", "7",
    ],
)
def test_a_line_that_holds_something_else_is_counted_and_left_out(tmp_path: Path, line: str) -> None:
    history = read_history(run_folder(tmp_path, [step(1)], rest=line.encode() + b"\n"))
    assert (len(history.steps), history.validations, history.step) == (1, (), 1)
    assert history.unreadable == 1
