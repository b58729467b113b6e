"""The suite ``busy``: how long a training step takes when other programs need the cores, too.

The step is that of DANet-ResNet18 on 2×180×240. Each implementation runs in processes of its own: alone; beside one
and two processes that only compute, as those of another program do; under a quota of 150 % and of 100 % of a core,
as a container has it; and on twice as many threads as there are cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from backends.cores import cpu_groups, usable_cores
from segattn_cli.benchmarking.measurements import Note
from segattn_cli.benchmarking.step_process import StepProcess
from segattn_cli.benchmarking.timing import Timing
from segattn_cli.benchmarking.variants import has_torch
from segattn_cli.errors import UsageError

SHAPE = (2, 180, 240)
QUIET = "quiet"
#: A program that computes until its parent ends, in as many processes as its argument says.
LOAD = """
import os, sys
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        break
parent = os.getppid()
while os.getppid() == parent:
    pass
"""
#: Seconds until these processes have started and the scheduler has divided the cores anew.
SETTLE = 0.7
#: Microseconds over which a quota is counted: Linux's default.
PERIOD = 100_000


class Condition(NamedTuple):
    """What makes the machine busy."""

    title: str
    processes: int = 0  # of another program, which only compute
    quota: float | None = None  # in cores
    threads: int | None = None  # None: as many as segattn takes by itself


@dataclass(frozen=True)
class BusyRow:
    """The time of a training step of one implementation under one condition."""

    implementation: str
    condition: str
    timing: Timing
    ratio: float  # of the time when the machine is quiet

    def as_json(self) -> dict[str, Any]:
        return {
            "implementation": self.implementation, "condition": self.condition, **self.timing._asdict(),
            "ratio": self.ratio,
        }  # fmt: skip


class BusyStarted(NamedTuple):
    done: int
    total: int
    title: str


class QuotaError(Exception):
    """No control group could be made; the message says why."""


def conditions() -> list[Condition]:
    """All that is measured, on this machine."""
    threads = 2 * usable_cores()
    return [
        Condition(QUIET),
        Condition("1 busy process", processes=1),
        Condition("2 busy processes", processes=2),
        Condition("quota of 150 %", quota=1.5),
        Condition("quota of 100 %", quota=1.0),
        Condition(f"{threads} threads", threads=threads),
    ]


def implementations() -> list[str]:
    """Those that are installed."""
    return [*(["numba"] if find_spec("numba") else []), "numpy", *(["torch"] if has_torch() else [])]


def run_busy(repeat: int | None = None) -> Iterator[BusyStarted | BusyRow | Note]:
    """Time each implementation under each condition, and make that condition meanwhile."""
    if not hasattr(os, "fork"):
        raise UsageError("The suite busy needs Linux or macOS: its load is made by processes that fork.")
    names, chosen = implementations(), conditions()
    total, done = len(names) * len(chosen), 0
    for name in names:
        quiet = 0.0
        with StepProcess(name, SHAPE) as usual:
            for condition in chosen:
                yield BusyStarted(done, total, f"{name}, {condition.title}")
                done += 1
                try:
                    timing = _time(usual, name, condition, repeat)
                except QuotaError as error:
                    if name == names[0]:
                        yield Note(f"The {condition.title} is left out: {error}.")
                    continue
                quiet = quiet or timing.seconds
                yield BusyRow(name, condition.title, timing, timing.seconds / quiet)


def _time(usual: StepProcess, name: str, condition: Condition, repeat: int | None) -> Timing:
    """The process ``usual`` measures where it can; a quota and a number of threads need one from its start."""
    with ExitStack() as opened:
        process = usual
        if condition.quota is not None or condition.threads is not None:
            group = None if condition.quota is None else opened.enter_context(quota_group(condition.quota))
            process = opened.enter_context(StepProcess(name, SHAPE, group=group, threads=condition.threads))
        if condition.processes:
            opened.enter_context(busy_processes(condition.processes))
        return Timing.of(process.seconds(repeat))


@contextmanager
def busy_processes(count: int) -> Iterator[int]:
    """Let so many processes compute, in a session of their own, whose number is yielded.

    Linux gives each session its part of the cores (autogroups), so these are like those of another program.
    """
    command = [sys.executable, "-S", "-c", LOAD, str(count)]
    with subprocess.Popen(command, start_new_session=True) as leader:
        try:
            time.sleep(SETTLE)
            yield leader.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGKILL)


@contextmanager
def quota_group(cores: float, groups: Sequence[Path] | None = None) -> Iterator[Path]:
    """A control group whose processes may use so many ``cores``, inside the one of this process.

    Raises :class:`QuotaError` where none can be made: only root may, and users to whom a group was given.
    """
    own = next(iter(cpu_groups() if groups is None else groups), None)
    if own is None:
        raise QuotaError("this system has no control groups for the time on cores")
    group = own / f"segattn-bench-{os.getpid()}"
    try:
        group.mkdir()
        quota = round(cores * PERIOD)
        if (own / "cgroup.controllers").exists():  # version 2
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        raise QuotaError(f"the control group {group} cannot be made ({error.strerror})") from None
    try:
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group, which its ended processes leave a moment later."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
