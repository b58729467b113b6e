"""The suite of a busy machine: its load, its quotas, and the ratios to the quiet machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from segattn_cli.benchmarking import busy
from segattn_cli.benchmarking.busy import (
    LOAD,
    BusyRow,
    QuotaError,
    busy_processes,
    conditions,
    quota_group,
    run_busy,
)
from segattn_cli.benchmarking.measurements import Note
from segattn_cli.benchmarking.step_process import StepProcess

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the load is made by processes that fork")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, sid = folder.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(sid) == session and state != "Z":
            found.append(int(folder.name))
    return found


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")


@linux
def test_the_load_has_a_session_of_its_own_and_ends_with_its_block(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(busy, "SETTLE", 0)
    with busy_processes(3) as session:
        assert session != os.getsid(0)
        wait_until(lambda: len(members(session)) == 3)
    wait_until(lambda: not members(session))


@linux
def test_the_load_ends_when_its_parent_is_killed():
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', sys.argv[1], '2'], start_new_session=True)\n"
        "print(child.pid, flush=True)\nchild.wait()"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", program, LOAD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        session = int(parent.stdout.readline())
        wait_until(lambda: len(members(session)) == 2)
        parent.kill()
    wait_until(lambda: not members(session))


@pytest.mark.parametrize(
    ("version", "files"),
    [(1, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}), (2, {"cpu.max": "150000 100000"})],
)
def test_a_quota_is_written_to_a_group_inside_that_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, files: dict[str, str]
):
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu")
    removed: list[Path] = []
    monkeypatch.setattr(busy, "_remove", removed.append)
    with quota_group(1.5, [tmp_path, tmp_path.parent]) as group:
        assert group.parent == tmp_path
        assert {path.name: path.read_text() for path in group.iterdir()} == files
        assert not removed
    assert removed == [group]


def test_a_system_without_control_groups_has_no_quota_and_says_so():
    with pytest.raises(QuotaError, match="no control groups"), quota_group(1.5, []):
        pass


def test_a_group_that_cannot_be_made_is_a_sentence(tmp_path: Path):
    with pytest.raises(QuotaError, match=r"cannot be made \(No such file"), quota_group(1.5, [tmp_path / "gone"]):
        pass


class Steps:
    """Stands for a process of training steps: what was asked of it, and under which load."""

    def __init__(self, name, shape, *, group=None, threads=None):
        self.name, self.group, self.threads, self.closed = name, group, threads, False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def seconds(self, repeat):
        assert not self.closed
        base = {"numba": 1.0, "numpy": 2.0}[self.name]
        slower = 1 + load[-1] + (2 if self.group else 0) + (self.threads or 0) / 8
        return [base * slower] * repeat


load: list[int] = [0]


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def processes(count: int):
        load.append(count)
        yield 0
        load.pop()

    @contextmanager
    def group(cores: float):
        if cores == 1.0:
            raise QuotaError("nobody may")
        yield Path("group")

    monkeypatch.setattr(busy, "StepProcess", Steps)
    monkeypatch.setattr(busy, "busy_processes", processes)
    monkeypatch.setattr(busy, "quota_group", group)
    monkeypatch.setattr(busy, "implementations", lambda: ["numba", "numpy"])
    monkeypatch.setattr(busy, "usable_cores", lambda: 2)


def test_each_implementation_is_compared_with_itself_on_the_quiet_machine(simulated: None):
    events = list(run_busy(repeat=3))
    rows = [event for event in events if isinstance(event, BusyRow)]
    assert [(row.implementation, row.condition, row.timing.seconds, row.ratio) for row in rows] == [
        (name, condition, base * ratio, ratio)
        for name, base in (("numba", 1.0), ("numpy", 2.0))
        for condition, ratio in (
            ("quiet", 1), ("1 busy process", 2), ("2 busy processes", 3), ("quota of 150 %", 3), ("4 threads", 1.5)
        )
    ]  # fmt: skip
    assert [event.sentence for event in events if isinstance(event, Note)] == [
        "The quota of 100 % is left out: nobody may."
    ]
    assert rows[1].as_json() == {
        "implementation": "numba", "condition": "1 busy process", "seconds": 2.0, "spread": 0.0, "rounds": 3,
        "ratio": 2.0,
    }  # fmt: skip


def test_the_first_condition_is_the_quiet_machine():
    assert conditions()[0] == busy.Condition("quiet")


def test_a_process_times_steps_on_the_threads_that_it_is_given(tmp_path: Path):
    (tmp_path / "cgroup.procs").touch()
    with StepProcess("numpy", (1, 33, 33), group=tmp_path, threads=1) as process:
        first, again = process.seconds(2), process.seconds(1)
        assert (tmp_path / "cgroup.procs").read_text() == str(process.process.pid)
        assert (len(first), len(again)) == (2, 1)
        assert min(*first, *again) > 0
    assert process.process.returncode is not None


def test_a_process_that_ends_is_an_error():
    with StepProcess("no-such-backend", (1, 33, 33)) as process, pytest.raises(RuntimeError, match="ended with 1"):
        process.seconds(1)
