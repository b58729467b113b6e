"""The processes of a study: what becomes of each, whatever it does."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from segattn_cli.config.study import load_study
from segattn_cli.errors import ExitCode
from segattn_cli.training import study as studies
from segattn_cli.training.study import RunEnded, RunProgress, StudyRun, do_runs, runs_of

STUDY = 'preset = "tiny-scenes"\nseeds = 2\n[rows.a]\n[rows.b]\nnetwork.head = "fcn"\n'
STEP = (
    '{"event":"step","step":3,"epoch":1.0,"loss":2.5,"parts":{},"gradient_norm":1.0,"learning_rate":0.1,"gates":{},'
    '"scale_weights":null,"seconds":1.0,"wait_share":0.0,"images_per_second":1.0,"memory":1,"seconds_left":null}'
)


@pytest.fixture
def planned(tmp_path: Path) -> list[StudyRun]:
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    return runs_of(load_study(path), tmp_path / "out")


def in_place_of_python(path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``script`` of the shell be what is started; its fourth argument is the folder of the run."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_all_rows_come_with_the_first_seed_first(planned: list[StudyRun], tmp_path: Path) -> None:
    assert [run.label for run in planned] == ["a/seed-0", "b/seed-0", "a/seed-1", "b/seed-1"]
    assert planned[3].out == tmp_path / "out" / "b" / "seed-1"
    assert (planned[3].config.training.seed, planned[3].config.network.head) == (1, "fcn")


@pytest.mark.parametrize(
    ("script", "state", "reason", "log"),
    [
        ("exit 0", "finished", "", None),
        (f"exit {ExitCode.INTERRUPTED}", "stopped", "", None),
        ("echo one >&2; echo 'The last line.' >&2; exit 4", "failed", "The last line.", "one\nThe last line.\n"),
        ("exit 7", "failed", "The process ended with exit code 7.", None),
        ("kill -9 $$", "failed", "The process was ended by SIGKILL.", None),
    ],
)
def test_what_becomes_of_a_process(
    planned: list[StudyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: str, reason: str,
    log: str | None,
) -> None:
    in_place_of_python(tmp_path / "python", script, monkeypatch)
    ended = [event for event in do_runs(planned, jobs=3) if isinstance(event, RunEnded)]
    assert {event.run.label for event in ended} == {run.label for run in planned}
    assert {(event.state, event.reason) for event in ended} == {(state, reason)}
    assert [event.done for event in ended] == [1, 2, 3, 4]
    found = tmp_path / "out" / "a" / "seed-0.log"
    assert (found.read_text() if found.exists() else None) == log


def test_events_are_progress_and_other_lines_are_not(
    planned: list[StudyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place_of_python(tmp_path / "python", f"echo nonsense; echo '{STEP}'", monkeypatch)
    first, second = do_runs(planned[:1])
    assert isinstance(first, RunProgress)
    assert first.note == "a/seed-0 step 3 loss 2.500"
    assert isinstance(second, RunEnded)


def test_when_asked_to_stop_standard_input_ends_and_nothing_more_is_started(
    planned: list[StudyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"cat > $4.input; exit {ExitCode.INTERRUPTED}"  # until standard input ends
    in_place_of_python(tmp_path / "python", script, monkeypatch)
    asked = iter([False, True])
    ended = list(do_runs(planned, jobs=2, should_stop=lambda: next(asked, True)))
    assert {(event.run.label, event.state) for event in ended if isinstance(event, RunEnded)} == {
        ("a/seed-0", "stopped"), ("b/seed-0", "stopped"),
    }
    assert '"seed": 0' in (tmp_path / "out" / "a" / "seed-0.input").read_text()


def test_a_process_does_not_outlive_an_error(
    planned: list[StudyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place_of_python(tmp_path / "python", f"echo $$ > $4.pid; echo '{STEP}'; exec sleep 1000", monkeypatch)
    events = do_runs(planned[:1])
    next(events)
    pid = int((tmp_path / "out" / "a" / "seed-0.pid").read_text())
    os.kill(pid, 0)
    events.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in studies.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    found = studies._environment(3)
    assert (found["OPENBLAS_NUM_THREADS"], found["NUMBA_NUM_THREADS"], found["OMP_NUM_THREADS"]) == ("2", "2", "5")
    assert studies._environment(20)["OPENBLAS_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in studies._environment(1)
