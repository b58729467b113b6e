"""A step of a session, and what it is given to run with."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.gpu_session.commands import PYTHON, Finished, Processes
from benchmarks.gpu_session.machine import Machine
from benchmarks.gpu_session.results import CutOff, Failed
from benchmarks.gpu_session.sizes import Sizes

#: Letters of a line, in which pytest shortens what failed and why.
WIDTH = "300"


@dataclass(frozen=True)
class Result:
    """What a step has shown: one sentence, and facts for the summary."""

    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """What all steps share."""

    backend: str
    stand_in: bool
    machine: Machine
    sizes: Sizes
    data: Path | None  # a CamVid folder; None for drawn scenes
    out: Path  # what is brought home
    work: Path  # runs and images, which stay here
    processes: Processes
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # of the steps that passed
    training: threading.Lock = field(default_factory=threading.Lock)  # of the run that several steps share


@dataclass(frozen=True)
class Turn:
    """One step's turn: its commands together have until ``end``, which is its own limit or that of the session."""

    session: Session
    name: str
    end: float  # on the monotonic clock
    by_session: bool  # whether the end is that of the session
    threads: int  # of the CPU, beside the steps that run at the same time

    @property
    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    @property
    def work(self) -> Path:
        return self.session.work

    def call(self, *command: str, codes: Sequence[int] = (0,)) -> Finished:
        """Run a command. Raises :class:`Failed` for another exit code, and :class:`CutOff` at the session's end."""
        finished = self.attempt(*command)
        if finished.late:
            self.stop()
        if finished.code not in codes:
            raise Failed(f"Exit code {finished.code}: {finished.last_line}")
        return finished

    def attempt(self, *command: str) -> Finished:
        """Run a command, however it ends."""
        threads = str(self.threads)
        environment = {"OMP_NUM_THREADS": threads, "SEGATTN_THREADS": threads, "COLUMNS": WIDTH}
        return self.session.processes.run(
            self.name, command, seconds=self.seconds_left, environment=environment
        )

    def stop(self, facts: Mapping[str, Any] | None = None) -> NoReturn:
        """Raise what the end of this turn means."""
        if self.by_session or self.session.processes.ended:
            raise CutOff("The time of the session was over.", facts)
        raise Failed("It took longer than its limit.", facts)

    def python(self, *arguments: str, codes: Sequence[int] = (0,)) -> Finished:
        """Run ``python -m …``."""
        return self.call(PYTHON, "-m", *arguments, codes=codes)

    def segattn(self, *arguments: str | Path | int, codes: Sequence[int] = (0,)) -> Finished:
        """Run the command line."""
        return self.call(*tool(self.session, *arguments), codes=codes)

    def train(self, out: Path, *more: str | int, precision: str = "float32", steps: int, seed: int = 0) -> Finished:
        """Train the session's network; the last options win."""
        session = self.session
        return self.segattn(
            "train", *session.sizes.network(session.data), "--backend", session.backend, "--precision", precision,
            "--seed", seed, "--max-steps", steps, "--out", out, *more,
        )  # fmt: skip


def tool(session: Session, *arguments: str | Path | int) -> list[str]:
    """The command line with ``arguments``, on the stand-in for CuPy where the session has no GPU."""
    module = "tests.cuda_cpu.tool" if session.stand_in else "segattn_cli"
    return [PYTHON, "-m", module, *map(str, arguments)]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Step:
    """A part of a session. Steps with the same stage run side by side, unless the stage is timed."""

    name: str
    purpose: str
    stage: int
    seconds: int  # its limit
    run: Callable[[Turn], Result]
    needs: tuple[str, ...] = ()
